"""Speak script.toml and lay it out as a two-party telephone call.

Writes call.wav (stereo, 16-bit, 8 kHz; agent left, caller right) and
reference.tsv next to this file, or in the directory given as the argument.
"""
import pathlib
import sys
import tomllib
import wave

import numpy as np
import pyworld
from hibari import Hibari

HERE = pathlib.Path(__file__).resolve().parent
RATE = 8000
BAND = (300.0, 3400.0)  # what a telephone line carries
KERNEL_HALF_S = 0.02    # half length of the band filter's kernel, seconds


def trim(x, rate):
    """Cut the voice's own silences at both ends: gaps belong to the script.

    20 ms are kept on each side so that no consonant loses its edge.
    """
    step = rate // 100
    frames = x[: len(x) // step * step].reshape(-1, step)
    level = 10 * np.log10((frames**2).mean(1) + 1e-12)
    loud = np.flatnonzero(level > level.max() - 40)
    first, last = max(loud[0] - 2, 0), min(loud[-1] + 3, len(frames))
    y = x[first * step : last * step].copy()
    ramp = np.linspace(0, 1, step)  # 10 ms fades, so the cuts do not click
    y[:step] *= ramp
    y[-step:] *= ramp[::-1]
    return y


def speak(tts, text, speed, pause, seed):
    """One turn at the voice's own rate, its sentences `pause` seconds apart.

    Left alone the voice rests for most of a second between sentences, which
    suits an audio book and drags in a conversation.
    """
    rate = tts.sample_rate
    # The voice's noise part is random; a fixed seed makes the build repeatable.
    parts = [trim(s.astype(np.float64), rate) for s in tts.stream(text, speed=speed, seed=seed)]
    rest = np.zeros(int(pause * rate))
    return np.concatenate([p for s in parts for p in (rest, s)][1:])


def reshape(x, rate, pitch, tract, melody):
    """Turn the packaged voice into a different speaker.

    Pitch and vocal-tract length are what tell speakers apart most, and WORLD
    splits speech into exactly those: pitch curve, resonances, breathiness. Each
    is moved on its own, so a lower pitch does not slow the words down.
    """
    f0, t = pyworld.harvest(x, rate, f0_floor=90.0, f0_ceil=400.0)
    f0 = pyworld.stonemask(x, f0, t, rate)
    env = pyworld.cheaptrick(x, f0, t, rate, f0_floor=90.0)
    breath = pyworld.d4c(x, f0, t, rate)

    # Output bin k takes what the original had at k / tract. The bins this runs
    # off the end of are above 10 kHz, far outside the telephone band.
    bins = env.shape[1]
    src = np.clip(np.arange(bins) / tract, 0, bins - 1)
    lo = np.minimum(src.astype(int), bins - 2)
    frac = src - lo

    def warp(m):
        return np.ascontiguousarray(m[:, lo] * (1 - frac) + m[:, lo + 1] * frac)

    env = np.exp(warp(np.log(env + 1e-16)))  # resonances interpolate best in dB
    breath = np.clip(warp(breath), 0.0, 1.0)

    voiced = f0 > 0
    centre = np.exp(np.log(f0[voiced]).mean())
    moved = centre * pitch * (np.where(voiced, f0, centre) / centre) ** melody
    return pyworld.synthesize(np.where(voiced, moved, 0.0), env, breath, rate)


def telephone(x, rate):
    """Band-pass to the telephone band and resample to 8 kHz in one step."""
    half = int(KERNEL_HALF_S * rate)
    lo, hi = BAND
    taps = np.arange(-half, half + 1)
    padded = np.pad(x, (half, half + 1))
    at = np.arange(int(len(x) * RATE / rate)) * rate / RATE
    out = np.empty(len(at))
    for s in range(0, len(at), 4000):  # in pieces: the kernel matrix is large
        pos = at[s : s + 4000]
        base = pos.astype(int)
        d = (taps[None, :] - (pos - base)[:, None]) / rate
        window = 0.5 + 0.5 * np.cos(np.pi * np.clip(d / KERNEL_HALF_S, -1, 1))
        kernel = (2 * hi * np.sinc(2 * hi * d) - 2 * lo * np.sinc(2 * lo * d)) / rate * window
        out[s : s + 4000] = (padded[base[:, None] + taps[None, :] + half] * kernel).sum(1)
    return out


def to_level(x, db):
    """Set the RMS of the speech itself, pauses left out, to `db` full scale."""
    step = RATE // 50
    power = (x[: len(x) // step * step].reshape(-1, step) ** 2).mean(1)
    active = power[power > power.max() * 10**-2.5].mean()
    return x * 10 ** (db / 20) / np.sqrt(active)


def line_noise(n, db, rng):
    """Quiet hiss of the line, in band like everything else on it.

    Without it the pauses are digital zeros, which no real call contains and
    which make a speech detector's work unrealistically easy.
    """
    spec = np.fft.rfft(rng.standard_normal(n))
    f = np.fft.rfftfreq(n, 1 / RATE)
    spec[(f < BAND[0]) | (f > BAND[1])] = 0
    x = np.fft.irfft(spec, n)
    return x * 10 ** (db / 20) / np.sqrt((x**2).mean())


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    script = tomllib.loads((HERE / "script.toml").read_text(encoding="utf-8"))
    voices = script["voices"]
    tts = Hibari()  # the one voice that is inside the package; nothing is downloaded

    placed = []  # (first sample, samples, turn)
    floor = int(script["call"]["lead"] * RATE)  # where the last speaker stops
    for i, turn in enumerate(script["turn"]):
        voice = voices[turn["who"]]
        speed = voice["speed"] * turn.get("speed", 1.0)
        x = speak(tts, turn["text"], speed, script["call"]["pause"], voice["seed"] + i)
        if "pitch" in voice:
            x = reshape(x, tts.sample_rate, voice["pitch"], voice["tract"], turn.get("range", 1.0))
        x = to_level(trim(telephone(x, tts.sample_rate), RATE), voice["level_db"])
        if "over" in turn:
            start = placed[-1][0] + int(turn["over"] * RATE)
        else:
            start = floor + int(turn.get("gap", 0.0) * RATE)
        placed.append((start, x, turn))
        floor = max(floor, start + len(x))

    total = floor + int(script["call"]["tail"] * RATE)
    stereo = np.zeros((total, 2))
    for voice in voices.values():
        side = 0 if voice["channel"] == "left" else 1
        stereo[:, side] = line_noise(total, voice["noise_db"], np.random.default_rng(voice["seed"]))
    for start, x, turn in placed:
        side = 0 if voices[turn["who"]]["channel"] == "left" else 1
        stereo[start : start + len(x), side] += x

    peak = np.abs(stereo).max()
    if peak >= 1.0:
        sys.exit(f"clipped: peak {peak:.2f}; lower level_db in script.toml")
    with wave.open(str(out / "call.wav"), "wb") as w:
        w.setnchannels(2)
        w.setsampwidth(2)
        w.setframerate(RATE)
        w.writeframes(np.round(stereo * 32767).astype("<i2").tobytes())

    with open(out / "reference.tsv", "w", encoding="utf-8") as f:
        f.write("start_s\tend_s\tspeaker\ttext\n")
        for start, x, turn in placed:
            f.write(f"{start / RATE:.3f}\t{(start + len(x)) / RATE:.3f}\t{turn['who']}\t{turn['text']}\n")
    print(f"{total / RATE:.1f} s, {len(placed)} turns, peak {20 * np.log10(peak):.1f} dBFS")


if __name__ == "__main__":
    main()
