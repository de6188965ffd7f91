//! `sidetone eval vad`: how well each detector tells speech from what is none, and what a
//! frame costs.
//!
//! Recordings are laid out in a row with pauses between them, the speech of all at one
//! level, over noise of several levels; [`crate::eval::detection`] says where speech is.
//! What is not speech at all is made by [`crate::eval::sounds`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use cpu_time::ThreadTime;

use super::super::{Common, Done, Failure, models};
use super::vad_report::{Band, Figures, Report};
use crate::app;
use crate::audio::level::power;
use crate::audio::wav;
use crate::eval::detection::{self, Outcome};
use crate::eval::manifest;
use crate::eval::sounds::{self, Noise};
use crate::eval::telephone::{TELEPHONE_HZ, resampled, telephone};
use crate::types::rate::{FRAME_SAMPLES, Frame, PIPELINE_HZ};
use crate::vad::{self, Vad};

/// Levels of noise below the speech, in dB; none for digital silence.
pub(super) const SNRS_DB: [Option<f32>; 4] = [None, Some(20.0), Some(10.0), Some(5.0)];

/// Level of the speech in a scene, in dBFS.
const SPEECH_DBFS: f32 = -26.0;

/// Seconds of each sound that is not speech.
pub(super) const SOUND_S: u32 = 30;

/// Seconds of a recording that are listened to.
const RECORDING_MAX_S: usize = 30;

/// How a file is named that holds no speech.
const NOT_SPEECH: &str = "nonspeech";

#[derive(Debug, Args)]
pub(super) struct Detection {
    /// Folder of WAV files with speech, one speaker a channel, searched through; with a
    /// MANIFEST.tsv, its English rows. Files named nonspeech… hold music or tones
    #[arg(long, value_name = "DIR", default_value = "../shared/audio")]
    audio: PathBuf,
    /// Only these detectors; all, if not given
    #[arg(long, value_name = "NAME")]
    detector: Vec<String>,
    /// At most this many recordings of speech, spread over the folder
    #[arg(long, value_name = "N", default_value_t = 60)]
    limit: usize,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A detector, made ready.
struct Candidate {
    name: &'static str,
    vad: Box<dyn Vad>,
    figures: BTreeMap<Band, Figures>,
}

pub(super) fn run(common: &Common, options: &Detection) -> Done {
    let mut config = common.load(Vec::new())?;
    let (speech, others) = recordings(&options.audio, options.limit)?;
    let mut candidates = Vec::new();
    for backend in vad::BACKENDS {
        if !options.detector.is_empty() && !options.detector.iter().any(|name| name == backend.name()) {
            continue;
        }
        models::ensure_all(&config, &backend.models(&config.vad.table(backend.name())))?;
        backend.name().clone_into(&mut config.vad.backend);
        let (name, make) = app::detector(&config)?;
        candidates.push(Candidate { name, vad: make(), figures: BTreeMap::new() });
    }
    if let Some(unknown) = options.detector.iter().find(|name| vad::find(name).is_err()) {
        vad::find(unknown)?;
    }
    let thresholds = (config.endpointing.open_threshold, config.endpointing.close_threshold);
    let mut spoken_s = 0.0;
    for (place, snr) in SNRS_DB.into_iter().enumerate() {
        let (scene, truth) = scene(&speech, snr);
        spoken_s = truth.iter().filter(|is| **is).count() as f64 * 0.02;
        for (band, audio) in bands(&scene) {
            for candidate in &mut candidates {
                let (decided, cost) = listen(&mut *candidate.vad, detection::frames(&audio), thresholds);
                let figures = candidate.figures.entry(band).or_default();
                let outcome = Outcome::of(&truth, &decided);
                figures.by_snr[place] = outcome.f1();
                figures.all.add(outcome);
                figures.talk.add(cost, decided.len());
            }
        }
    }
    let made = sounds::ALL.iter().map(|(name, make)| ((*name).to_owned(), make(SOUND_S)));
    for (name, sound) in made.chain(others) {
        for (band, audio) in bands(&sound) {
            for candidate in &mut candidates {
                let (decided, cost) = listen(&mut *candidate.vad, detection::frames(&audio), thresholds);
                let figures = candidate.figures.entry(band).or_default();
                let silence = vec![false; decided.len()];
                figures.sounds.push((name.clone(), Outcome::of(&silence, &decided).false_alarm_s()));
                if name == "line noise" {
                    figures.quiet.add(cost, decided.len());
                }
            }
        }
    }
    let report = Report {
        recordings: speech.len(),
        spoken_s,
        detectors: candidates.into_iter().map(|candidate| (candidate.name, candidate.figures)).collect(),
    };
    if options.json { report.json() } else { report.table() }?;
    Ok(ExitCode::SUCCESS)
}

/// The scene as detectors hear it: 16 kHz, whole, and by way of a telephone.
fn bands(scene: &[i16]) -> [(Band, Vec<i16>); 2] {
    let by_telephone = resampled(&telephone(scene, PIPELINE_HZ), TELEPHONE_HZ, PIPELINE_HZ);
    [(Band::Telephone, by_telephone), (Band::Wide, scene.to_vec())]
}

/// A detector's decisions, and the processor time they took.
fn listen(vad: &mut dyn Vad, frames: &[Frame], (open, close): (f32, f32)) -> (Vec<bool>, Duration) {
    vad.reset();
    let mut scores = Vec::with_capacity(frames.len());
    let started = ThreadTime::now();
    scores.extend(frames.iter().map(|frame| vad.score(frame)));
    let cost = started.elapsed();
    (detection::decided(scores.into_iter(), open, close), cost)
}

/// Speech in a row over noise: audio, and where the speech is. The same for the same
/// recordings, but for the noise.
fn scene(speech: &[Vec<i16>], snr_db: Option<f32>) -> (Vec<i16>, Vec<bool>) {
    let mut random = Noise::new(7);
    let mut pause = |n: u32| vec![0_i16; FRAME_SAMPLES * (n + random.below(100)) as usize];
    let mut audio = pause(100);
    let mut truth = vec![false; audio.len() / FRAME_SAMPLES];
    for recording in speech {
        let spoken = detection::truth(recording);
        audio.extend(at_level(recording, &spoken));
        truth.extend(&spoken);
        audio.extend(pause(50));
        truth.resize(audio.len() / FRAME_SAMPLES, false);
    }
    if let Some(snr_db) = snr_db {
        let mut noise = Noise::new(13);
        let hiss: Vec<f32> = audio.iter().map(|_| noise.pink()).collect();
        let rms = (hiss.iter().map(|s| s * s).sum::<f32>() / hiss.len().max(1) as f32).sqrt();
        let gain = 32_768.0 * 10_f32.powf((SPEECH_DBFS - snr_db) / 20.0) / rms.max(1e-9);
        audio.iter_mut().zip(hiss).for_each(|(sample, hiss)| *sample = sample.saturating_add((hiss * gain) as i16));
    }
    (audio, truth)
}

/// A recording cut to whole frames, its speech at [`SPEECH_DBFS`].
fn at_level(recording: &[i16], spoken: &[bool]) -> Vec<i16> {
    let frames = detection::frames(recording);
    let loud: Vec<f32> = frames.iter().zip(spoken).filter(|(_, is)| **is).map(|(frame, _)| power(frame)).collect();
    let mean = loud.iter().sum::<f32>() / loud.len().max(1) as f32;
    let gain = (10_f32.powf(SPEECH_DBFS / 10.0) / mean.max(1e-9)).sqrt();
    frames.as_flattened().iter().map(|&sample| (f32::from(sample) * gain) as i16).collect()
}

/// Sounds by name, 16 kHz.
type Sounds = Vec<(String, Vec<i16>)>;

/// Recordings of speech below `folder`, at most `limit`, 16 kHz; and those of something else.
fn recordings(folder: &Path, limit: usize) -> Result<(Vec<Vec<i16>>, Sounds), Failure> {
    let shown = folder.display();
    let missing = |what: String| Failure(format!("{what}; name a folder of WAV files with speech: --audio DIR"));
    let mut files = Vec::new();
    walk(folder, &mut files).map_err(|error| missing(format!("{shown}: {error}")))?;
    files.sort();
    let is_other = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(NOT_SPEECH));
    let (others, mut speech): (Vec<_>, Vec<_>) = files.into_iter().partition(is_other);
    let list = folder.join("MANIFEST.tsv");
    if let Ok(text) = std::fs::read_to_string(&list) {
        let (rows, _) = manifest::parse(&text).map_err(|problem| Failure(format!("{}: {problem}", list.display())))?;
        let listed: Vec<PathBuf> = rows.iter().map(|row| folder.join(&row.file)).collect();
        speech.retain(|path| listed.contains(path));
    }
    if speech.is_empty() {
        return Err(missing(format!("{shown}: no recording of speech")));
    }
    let step = speech.len().div_ceil(limit.max(1));
    let speech = speech.iter().step_by(step).map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let others = others.iter().map(|path| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Ok((name.trim_start_matches(NOT_SPEECH).trim_start_matches(['_', '-']).to_owned(), read(path)?))
    });
    Ok((speech, others.collect::<Result<_, Failure>>()?))
}

fn read(path: &Path) -> Result<Vec<i16>, Failure> {
    let (hz, mut channels) = wav::read_any_rate(path)?;
    let mut samples = channels.swap_remove(0);
    samples.truncate(RECORDING_MAX_S * hz as usize);
    Ok(resampled(&samples, hz, PIPELINE_HZ))
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // Links are not followed: they may go round in circles.
        if path.is_dir() && !path.is_symlink() {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("wav")) {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(path: &Path, seconds: u32) {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(path, spec).unwrap();
        for n in 0..seconds * 8_000 {
            writer.write_sample(if n % 8_000 < 4_000 { 3_000 * (n % 16 / 8 * 2) as i16 - 3_000 } else { 0 }).unwrap();
        }
        writer.finalize().unwrap();
    }

    #[test]
    fn a_folder_without_speech_is_named_with_the_option() {
        let folder = tempfile::tempdir().unwrap();
        for path in [Path::new("/nowhere/audio"), folder.path()] {
            let Failure(message) = recordings(path, 9).unwrap_err();
            assert!(message.contains(&path.display().to_string()) && message.contains("--audio DIR"), "{message}");
        }
    }

    #[test]
    fn speech_and_other_sounds_are_told_by_name_and_limited() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("deep")).unwrap();
        for name in ["deep/a.wav", "b.WAV", "c.wav", "nonspeech_moh.wav"] {
            tone(&folder.path().join(name), 1);
        }
        let (speech, others) = recordings(folder.path(), 2).unwrap();
        assert_eq!((speech.len(), speech[0].len()), (2, 16_000));
        assert_eq!(others.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["moh"]);
        std::fs::write(folder.path().join("MANIFEST.tsv"), "file\ttranscript\nc.wav\tHello\n").unwrap();
        assert_eq!(recordings(folder.path(), 9).unwrap().0.len(), 1);
    }

    #[test]
    fn a_scene_has_its_speech_where_the_truth_says_and_its_noise_everywhere() {
        let folder = tempfile::tempdir().unwrap();
        tone(&folder.path().join("a.wav"), 2);
        let (speech, _) = recordings(folder.path(), 9).unwrap();
        let (clean, truth) = scene(&speech, None);
        assert_eq!(clean.len(), truth.len() * FRAME_SAMPLES);
        let (mut loud, mut quiet) = (0.0, 0.0);
        for (frame, is) in detection::frames(&clean).iter().zip(&truth) {
            *(if *is { &mut loud } else { &mut quiet }) += power(frame);
        }
        assert!(loud > 100.0 * quiet, "{loud} {quiet}");
        let (noisy, again) = scene(&speech, Some(10.0));
        assert_eq!(truth, again);
        let noise = crate::audio::level::dbfs(power(&noisy[..16_000]));
        assert!((noise - SPEECH_DBFS + 10.0).abs() < 2.0, "{noise}");
    }
}
