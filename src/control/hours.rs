//! Opening hours: `mon-fri 09:00-17:30`, in a time zone of the IANA list.

use std::str::FromStr;

use chrono::{DateTime, Datelike as _, NaiveTime, Timelike as _, Weekday};
use chrono_tz::Tz;

use crate::types::WallTime;

/// Times of the week during which a flow applies.
#[derive(Debug, Clone, PartialEq)]
pub struct Hours {
    zone: Tz,
    spans: Vec<Span>,
}

#[derive(Debug, Clone, PartialEq)]
struct Span {
    /// Monday first.
    days: [bool; 7],
    from: NaiveTime,
    to: NaiveTime,
}

/// Opening hours that cannot be read: the text, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHours {
    /// Not days and a span of time.
    #[error(
        "{0:?} is no opening time; expected days and hours such as \"mon-fri 09:00-17:30\" or \"sat,sun 22:00-06:00\""
    )]
    Span(String),
    /// Not in the IANA list.
    #[error("{0:?} is no time zone; expected an IANA name such as \"Europe/London\"")]
    Zone(String),
}

impl Hours {
    /// Reads spans in a time zone; any of them being open means open. A span that ends
    /// before it begins runs past midnight and belongs to the day on which it begins;
    /// `00:00-24:00` is the whole day.
    ///
    /// # Errors
    /// [`BadHours`], with the text that cannot be read.
    pub fn parse<'a>(spans: impl IntoIterator<Item = &'a str>, zone: &str) -> Result<Self, BadHours> {
        let zone = zone.parse().map_err(|_| BadHours::Zone(zone.to_owned()))?;
        let spans = spans.into_iter().map(|text| span(text).ok_or_else(|| BadHours::Span(text.to_owned())));
        Ok(Self { zone, spans: spans.collect::<Result<_, _>>()? })
    }

    /// Whether it is open at this moment.
    #[must_use]
    pub fn is_open(&self, at: WallTime) -> bool {
        let local = DateTime::from_timestamp_micros(at.0).unwrap_or_default().with_timezone(&self.zone);
        let (today, time) = (local.weekday().num_days_from_monday() as usize, local.time());
        let yesterday = (today + 6) % 7;
        self.spans.iter().any(|Span { days, from, to }| {
            if *to == NaiveTime::MIN || from < to {
                days[today] && time >= *from && (*to == NaiveTime::MIN || time < *to)
            } else {
                (days[today] && time >= *from) || (days[yesterday] && time < *to)
            }
        })
    }
}

fn span(text: &str) -> Option<Span> {
    let (days, hours) = text.trim().split_once(char::is_whitespace)?;
    let (from, to) = hours.trim().split_once('-')?;
    let mut open = [false; 7];
    for part in days.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let mut at = first;
        loop {
            open[at] = true;
            if at == last {
                break;
            }
            at = (at + 1) % 7;
        }
    }
    // Midnight at the end of the day is written 24:00 and kept as 00:00.
    let to = if to.trim() == "24:00" { NaiveTime::MIN } else { time(to).filter(|to| *to != NaiveTime::MIN)? };
    Some(Span { days: open, from: time(from)?, to })
}

fn day(word: &str) -> Option<usize> {
    Weekday::from_str(word.trim()).ok().map(|day| day.num_days_from_monday() as usize)
}

fn time(text: &str) -> Option<NaiveTime> {
    NaiveTime::parse_from_str(text.trim(), "%H:%M").ok().filter(|time| time.second() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(utc: &str) -> WallTime {
        WallTime(DateTime::parse_from_rfc3339(utc).unwrap().timestamp_micros())
    }

    #[test]
    fn open_in_its_own_time_zone() {
        let hours = Hours::parse(["mon-fri 09:00-17:30", "sat 10:00-12:00"], "Europe/London").unwrap();
        // Summer time: 08:30 UTC is 09:30 in London.
        let rows = [
            ("2026-06-01T08:30:00Z", true),
            ("2026-06-01T07:59:59Z", false),
            ("2026-06-01T16:29:59Z", true),
            ("2026-06-01T16:30:00Z", false),
            ("2026-01-05T08:59:59Z", false),
            ("2026-01-05T09:00:00Z", true),
            ("2026-06-06T10:30:00Z", true),
            ("2026-06-07T10:30:00Z", false),
        ];
        for (utc, open) in rows {
            assert_eq!(hours.is_open(at(utc)), open, "{utc}");
        }
    }

    #[test]
    fn a_night_belongs_to_the_day_it_begins_on_and_a_week_may_wrap() {
        let night = Hours::parse(["fri-mon 22:00-06:00"], "UTC").unwrap();
        let rows = [
            ("2026-06-05T21:59:00Z", false),
            ("2026-06-05T22:00:00Z", true),
            ("2026-06-09T05:59:00Z", true),
            ("2026-06-09T06:00:00Z", false),
            ("2026-06-09T23:00:00Z", false),
        ];
        for (utc, open) in rows {
            assert_eq!(night.is_open(at(utc)), open, "{utc}");
        }
        assert!(Hours::parse(["tue 00:00-24:00"], "UTC").unwrap().is_open(at("2026-06-09T23:59:59Z")));
    }

    #[test]
    fn errors_name_the_text_and_what_was_expected() {
        for text in ["", "mon", "mon 9", "mon-someday 09:00-10:00", "mon 09:00-25:00", "mon 09:00", "mon 09:00-00:00"] {
            let error = Hours::parse([text], "UTC").unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text:?} is no opening time; expected")), "{error}");
        }
        assert!(Hours::parse([], "Mars/Olympus").unwrap_err().to_string().contains("IANA"));
    }
}
