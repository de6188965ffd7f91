//! Reads back what is on disk only.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::frame::{Fault, Frames};
use super::index::{Index, Wanted};
use super::quarantine;
use crate::event::Event;

/// Events read at once.
const READ_MAX: usize = 256;

/// An event from the disk.
pub(in crate::publish) struct Held {
    pub(in crate::publish) position: u64,
    pub(in crate::publish) key: u64,
    pub(in crate::publish) event: Arc<Event>,
}

/// Gives events in the order they were written.
pub(in crate::publish) struct Reader {
    dir: PathBuf,
    index: Arc<Index>,
    file: Option<(u64, File)>,
}

impl Reader {
    pub(super) fn new(dir: PathBuf, index: Arc<Index>) -> Self {
        Self { dir, index, file: None }
    }

    /// Reads some more, if there are any. What can not be read after all is given in
    /// `lost`; its file is kept aside.
    pub(in crate::publish) fn read(&mut self, ahead: &mut VecDeque<Held>, lost: &mut Vec<(Wanted, Fault)>) {
        let Some((number, path, wanted)) = self.index.next_wanted(READ_MAX) else { return };
        if self.file.as_ref().is_none_or(|(open, _)| *open != number) {
            self.file = File::open(&path).ok().map(|file| (number, file));
        }
        let mut worst = None;
        for one in wanted {
            match self.one(&one) {
                Ok(event) => {
                    ahead.push_back(Held { position: one.position, key: one.key, event: Arc::new(event) });
                }
                Err(fault) => {
                    worst = Some(fault);
                    lost.push((one, fault));
                }
            }
        }
        if let Some(fault) = worst {
            // Nothing more can be done if that fails too; the loss is told either way.
            let _ = quarantine(&self.dir, &path, fault, false);
        }
    }

    fn one(&self, wanted: &Wanted) -> Result<Event, Fault> {
        let (_, file) = self.file.as_ref().ok_or(Fault::Unreadable)?;
        let mut bytes = vec![0; wanted.length as usize];
        file.read_exact_at(&mut bytes, wanted.at).map_err(|_| Fault::Unreadable)?;
        let (frame, _) = Frames::of(&bytes, 0).next().ok_or(Fault::Damaged)?;
        if frame.position != wanted.position {
            return Err(Fault::Damaged);
        }
        Event::from_structured(frame.payload).map_err(|_| Fault::Unknown)
    }
}
