"""What sherpa-onnx makes of the toy models and sounds that `tests.rs` lays out.

    cargo test --lib asr::transducer -- --ignored   # says where it has laid them out
    pip install numpy sherpa-onnx
    python agree.py THAT_FOLDER
"""

import pathlib
import sys

import numpy
import sherpa_onnx

folder = pathlib.Path(sys.argv[1])
for model in sorted(path.parent for path in folder.glob("*/tokens.txt")):
    recognizer = sherpa_onnx.OnlineRecognizer.from_transducer(
        tokens=str(model / "tokens.txt"),
        encoder=str(model / "encoder-toy.onnx"),
        decoder=str(model / "decoder-toy.onnx"),
        joiner=str(model / "joiner-toy.onnx"),
        num_threads=1,
        decoding_method="greedy_search",
        # Its own is 2, which makes every token look less sure than the model is.
        temperature_scale=1.0,
    )
    for sound in sorted(folder.glob("*.f32")):
        stream = recognizer.create_stream()
        stream.accept_waveform(16000, numpy.fromfile(sound, dtype="<f4"))
        # As sherpa-onnx's own examples do at the end of a file.
        stream.accept_waveform(16000, numpy.zeros(int(0.66 * 16000), dtype=numpy.float32))
        stream.input_finished()
        while recognizer.is_ready(stream):
            recognizer.decode_stream(stream)
        result = recognizer.get_result_all(stream)
        times = [round(1000 * time) for time in result.timestamps]
        probabilities = [round(float(value), 4) for value in result.ys_probs]
        print(model.name, sound.stem, repr(result.text.strip()), list(result.tokens), times, probabilities)
