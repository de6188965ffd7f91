//! What telephone lines carry that is not speech: tones, hold music, noise. All made
//! here, at 16 kHz, the same on every run.

use std::f32::consts::TAU;

/// Samples a second of every sound.
pub const SOUND_HZ: u32 = 16_000;

/// Level of a sound, in dBFS: that of speech on a good line.
const LEVEL_DBFS: f32 = -22.0;

/// A kind of sound, and how to make so many seconds of it.
pub type Sound = (&'static str, fn(u32) -> Vec<i16>);

/// Every kind. Ring and busy are those of ITU-T E.180 in North America and the United
/// Kingdom, keys those of Q.23.
pub const ALL: &[Sound] = &[
    ("silence", silence),
    ("line noise", line_noise),
    ("ring, America", ring_america),
    ("ring, Britain", ring_britain),
    ("busy", busy),
    ("DTMF", dtmf),
    ("hold music", music),
    ("hold music, drums", music_with_drums),
];

fn silence(seconds: u32) -> Vec<i16> {
    vec![0; (seconds * SOUND_HZ) as usize]
}

/// Pink noise at −50 dBFS: a line that is open and quiet.
fn line_noise(seconds: u32) -> Vec<i16> {
    let mut noise = Noise::new(5);
    at_level((0..seconds * SOUND_HZ).map(|_| noise.pink()).collect(), -50.0)
}

fn ring_america(seconds: u32) -> Vec<i16> {
    cadence(seconds, &[440.0, 480.0], &[(2.0, true), (4.0, false)])
}

fn ring_britain(seconds: u32) -> Vec<i16> {
    cadence(seconds, &[400.0, 450.0], &[(0.4, true), (0.2, false), (0.4, true), (2.0, false)])
}

fn busy(seconds: u32) -> Vec<i16> {
    cadence(seconds, &[480.0, 620.0], &[(0.5, true), (0.5, false)])
}

/// Keys in a fixed disorder, 100 ms each, 100 to 400 ms apart.
fn dtmf(seconds: u32) -> Vec<i16> {
    const LOW: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
    const HIGH: [f32; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
    let mut random = Noise::new(11);
    let (mut until, mut pressed) = (0, None);
    let tone = |n: u32| {
        if n == until {
            let key = random.below(16) as usize;
            pressed = if pressed.is_some() { None } else { Some((LOW[key / 4], HIGH[key % 4])) };
            until += if pressed.is_some() { SOUND_HZ / 10 } else { SOUND_HZ / 10 * (1 + random.below(4)) };
        }
        pressed.map_or(0.0, |(low, high)| tone(n, low) + tone(n, high))
    };
    at_level((0..seconds * SOUND_HZ).map(tone).collect(), LEVEL_DBFS)
}

fn music(seconds: u32) -> Vec<i16> {
    at_level(melody(seconds, false), LEVEL_DBFS)
}

fn music_with_drums(seconds: u32) -> Vec<i16> {
    at_level(melody(seconds, true), LEVEL_DBFS)
}

/// Four chords, and above them a melody that walks over a scale; notes are plucked and
/// have harmonics, some with vibrato, as most hold music does.
fn melody(seconds: u32, drums: bool) -> Vec<f32> {
    /// Semitones above A3 = 220 Hz.
    const CHORDS: [[i32; 3]; 4] = [[0, 3, 7], [-4, 0, 3], [3, 7, 10], [-2, 2, 5]];
    const SCALE: [i32; 7] = [12, 14, 15, 17, 19, 20, 22];
    let beat = SOUND_HZ / 2;
    let mut random = Noise::new(23);
    let mut out = vec![0.0; (seconds * SOUND_HZ) as usize];
    let mut step = 3_i32;
    let strike = |out: &mut [f32], semitones: i32, beats: u32, loudness: f32, vibrato: f32| {
        let hz = 220.0 * 2_f32.powf(semitones as f32 / 12.0);
        for (n, sample) in out.iter_mut().take((beats * beat) as usize).enumerate() {
            let t = n as f32 / SOUND_HZ as f32;
            let envelope = (t / 0.01).min(1.0) * (-2.0 * t).exp();
            let phase = TAU * hz * t + vibrato * (TAU * 5.5 * t).sin();
            let tone = (1..6).map(|k| (phase * k as f32).sin() / (k * k) as f32).sum::<f32>();
            *sample += loudness * envelope * tone;
        }
    };
    for (beat_number, start) in (0..out.len()).step_by(beat as usize).enumerate() {
        if beat_number % 4 == 0 {
            let chord = CHORDS[beat_number / 4 % CHORDS.len()];
            chord.iter().for_each(|&note| strike(&mut out[start..], note, 4, 0.5, 0.0));
        }
        step = (step + random.below(5) as i32 - 2).clamp(0, SCALE.len() as i32 - 1);
        strike(&mut out[start..], SCALE[step as usize], 2, 1.0, 0.4);
        if drums {
            let length = out.len().min(start + SOUND_HZ as usize / 12);
            for (n, sample) in out[start..length].iter_mut().enumerate() {
                *sample += 1.5 * (-(n as f32) / 300.0).exp() * random.white();
            }
        }
    }
    out
}

fn tone(n: u32, hz: f32) -> f32 {
    (TAU * hz * (n as f32 / SOUND_HZ as f32)).sin()
}

/// Tones together, on and off as long as `parts` say, again and again.
fn cadence(seconds: u32, tones: &[f32], parts: &[(f32, bool)]) -> Vec<i16> {
    let whole: f32 = parts.iter().map(|part| part.0).sum();
    let is_on = |n: u32| {
        let at = n as f32 / SOUND_HZ as f32 % whole;
        let mut end = 0.0;
        let part = parts.iter().find(|(length, _)| {
            end += length;
            at < end
        });
        part.is_some_and(|part| part.1)
    };
    let sample = |n| if is_on(n) { tones.iter().map(|&hz| tone(n, hz)).sum() } else { 0.0 };
    at_level((0..seconds * SOUND_HZ).map(sample).collect(), LEVEL_DBFS)
}

/// Sixteen bits, scaled so that what sounds (whatever is not zero) is at `dbfs` on average.
fn at_level(samples: Vec<f32>, dbfs: f32) -> Vec<i16> {
    let sounding = samples.iter().filter(|&&sample| sample != 0.0);
    let (n, sum) = sounding.fold((0, 0.0_f64), |(n, sum), &sample| (n + 1, sum + f64::from(sample).powi(2)));
    let rms = (sum / f64::from(n.max(1))).sqrt() as f32;
    let gain = 32_768.0 * 10_f32.powf(dbfs / 20.0) / rms.max(1e-9);
    samples.into_iter().map(|sample| (sample * gain) as i16).collect()
}

/// A stream of random numbers that is the same on every run (a linear congruential
/// generator, the constants those of Numerical Recipes).
#[derive(Debug, Clone)]
pub struct Noise {
    state: u32,
    /// Filters of the pink noise.
    poles: [f32; 3],
}

impl Noise {
    /// The stream that begins with `seed`.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        Self { state: seed, poles: [0.0; 3] }
    }

    fn next(&mut self) -> u32 {
        self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.state >> 8
    }

    /// A number from 0 to `n` − 1; `n` at least 1.
    pub fn below(&mut self, n: u32) -> u32 {
        self.next() % n.max(1)
    }

    /// White noise, −1 to 1.
    pub fn white(&mut self) -> f32 {
        self.next() as f32 / 8_388_608.0 - 1.0
    }

    /// Noise whose power falls by about 3 dB an octave, as rooms and lines have (P. Kellet's
    /// three-pole filter), about −1 to 1.
    pub fn pink(&mut self) -> f32 {
        let white = self.white();
        self.poles[0] = 0.997_65 * self.poles[0] + 0.099_046 * white;
        self.poles[1] = 0.963 * self.poles[1] + 0.296_516_4 * white;
        self.poles[2] = 0.57 * self.poles[2] + 1.052_691_3 * white;
        (self.poles.iter().sum::<f32>() + 0.1848 * white) / 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::level::{dbfs, power};

    #[test]
    fn every_sound_is_as_long_as_wanted_the_same_again_and_as_loud_as_it_says() {
        for (name, make) in ALL {
            let sound = make(7);
            assert_eq!(sound.len(), 7 * SOUND_HZ as usize, "{name}");
            assert_eq!(sound, make(7), "{name}");
            let loudest = sound.chunks(1_600).map(|part| dbfs(power(part))).fold(-100.0, f32::max);
            let range = match *name {
                "silence" => -100.1..-99.9,
                "line noise" => -51.0..-45.0,
                _ => -25.0..-8.0,
            };
            assert!(range.contains(&loudest), "{name}: {loudest} dBFS");
        }
    }

    #[test]
    fn cadences_are_on_and_off_when_they_should_be() {
        let sounds = |sound: &[i16], at_s: f32| {
            let at = (at_s * SOUND_HZ as f32) as usize;
            sound[at..at + 160].iter().any(|&sample| sample != 0)
        };
        let ring = ring_britain(6);
        let heard: Vec<_> = [0.2, 0.5, 0.8, 2.0, 3.2, 3.5].iter().map(|&at| sounds(&ring, at)).collect();
        assert_eq!(heard, [true, false, true, false, true, false]);
        let busy = busy(2);
        assert_eq!([0.2, 0.7, 1.2, 1.7].map(|at| sounds(&busy, at)), [true, false, true, false]);
    }

    #[test]
    fn pink_noise_has_more_below_than_above() {
        let mut noise = Noise::new(1);
        let pink: Vec<f32> = (0..32_000).map(|_| noise.pink()).collect();
        let above: f32 = pink.windows(2).map(|pair| (pair[1] - pair[0]).powi(2)).sum();
        let all: f32 = pink.iter().map(|sample| sample * sample).sum();
        // White noise would have 2.
        assert!(above / all < 1.0, "{}", above / all);
    }
}
