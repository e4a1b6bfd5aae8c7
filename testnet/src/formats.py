"""Writes one file of each format that tools from PyPI make into the named folder, with those tools."""

import pickle
import py_compile
import sys
import tarfile
import wave
import zipfile
from pathlib import Path

import gguf
import h5py
import msgpack
import numpy
import onnx
import safetensors.numpy

out = Path(sys.argv[1])
array = numpy.arange(4096, dtype=numpy.float32).reshape(64, 64)

numpy.savez(out / "arrays.npz", a=array, b=array[:2])
numpy.savez_compressed(out / "packed.npz", a=array)
numpy.savez(out / "objects.npz", a=array, b=numpy.array([{"a": 1}], dtype=object))
numpy.save(out / "one.npy", array)

safetensors.numpy.save_file({"w": array}, out / "model.safetensors", metadata={"format": "np"})
(out / "flax_model.msgpack").write_bytes(
    msgpack.packb({"params": {"w": msgpack.ExtType(1, msgpack.packb((array.shape, "float32", array.tobytes())))}})
)

with h5py.File(out / "weights.h5", "w") as file:
    file.create_dataset("layer/w", data=array, compression="gzip")

tensor = onnx.numpy_helper.from_array(array, "w")
graph = onnx.helper.make_graph(
    [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
    "g",
    [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 64])],
    [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 64])],
    [tensor],
)
model = onnx.helper.make_model(graph)
onnx.save_model(model, str(out / "whole.onnx"))
onnx.save_model(
    model, str(out / "apart.onnx"), save_as_external_data=True, location="apart.onnx_data", size_threshold=1024
)

apart = onnx.numpy_helper.from_array(array, "t")
onnx.external_data_helper.set_external_data(apart, "trained.bin")
(out / "trained.bin").write_bytes(apart.raw_data)
apart.ClearField("raw_data")
trained = onnx.helper.make_model(graph)
trained.training_info.add().initialization.CopyFrom(onnx.helper.make_graph([], "i", [], [], [apart]))
(out / "trained.onnx").write_bytes(trained.SerializeToString())


def write_gguf(name, endianess):
    writer = gguf.GGUFWriter(out / name, "llama", endianess=endianess)
    writer.add_context_length(512)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<s>", "a", "\x7f"])
    writer.add_tensor("token_embd.weight", array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


write_gguf("little.gguf", gguf.GGUFEndian.LITTLE)
write_gguf("big.gguf", gguf.GGUFEndian.BIG)
whole = (out / "little.gguf").read_bytes()
(out / "cut.gguf.part1of2").write_bytes(whole[:5000])
(out / "cut.gguf.part2of2").write_bytes(whole[5000:])

(out / "utf16.txt").write_text("Lizenz: für alle\n", encoding="utf-16")
(out / "tokenizer.json").write_text('{"vocab": {"\x7f": 127}}')

with tarfile.open(out / "asr.nemo", "w") as archive:
    archive.add(out / "one.npy", "model_weights.ckpt")
with zipfile.ZipFile(out / "files.zip", "w") as archive:
    archive.write(out / "one.npy", "one.bin")


def hidden_directory(seen, hidden):
    """Returns a zip of `seen` for readers that take the last end record, and of `hidden` for Python."""
    parts = []
    for name in (seen, hidden):
        with zipfile.ZipFile(out / "part.zip", "w") as archive:
            archive.write(out / "one.npy", name)
        whole = (out / "part.zip").read_bytes()
        begin = int.from_bytes(whole[-6:-2], "little")
        parts.append((whole[:begin], bytearray(whole[begin:-22])))
    (out / "part.zip").unlink()
    (first, directory), (second, other) = parts
    number = lambda it, width: it.to_bytes(width, "little")
    other[42:46] = number(len(first), 4)
    members = first + second
    at = len(members) + len(directory)
    wide = b"PK\6\6" + number(44, 8) + number(45, 2) * 2 + bytes(8) + b"".join(number(it, 8) for it in (1, 1, len(other), at))
    comment = bytes(other) + wide + b"PK\6\7" + bytes(4) + number(at + len(other), 8) + number(1, 4)
    directory[32:34] = number(len(comment), 2)
    end = b"PK\5\6" + bytes(4) + number(1, 2) * 2 + number(len(directory) + len(comment), 4) + number(len(members), 4)
    return members + directory + comment + end + bytes(2)


(out / "hidden.npz").write_bytes(hidden_directory("a.npy", "b.npy"))
assert zipfile.ZipFile(out / "hidden.npz").namelist() == ["b.npy"], "Python sees the other directory"
assert numpy.load(out / "hidden.npz").files == ["b"]
(out / "source.py").write_text("print(1)\n")
py_compile.compile(str(out / "source.py"), cfile=str(out / "compiled.pyc"))
with wave.open(str(out / "sound.wav"), "wb") as sound:
    sound.setnchannels(1)
    sound.setsampwidth(2)
    sound.setframerate(16000)
    sound.writeframes(bytes(3200))
(out / "pickled.pkl").write_bytes(pickle.dumps(Path("x")))
