"""Writes files of frameworks with the frameworks' own tools into the named folder."""

import ctypes
import subprocess
import sys
from pathlib import Path

import ctranslate2
import numpy
import openvino

out, xgboost, executorch = map(Path, sys.argv[1:])
array = numpy.arange(4096, dtype=numpy.float32).reshape(64, 64)

x = openvino.opset8.parameter([1, 64], dtype=numpy.float32, name="x")
product = openvino.opset8.matmul(x, openvino.opset8.constant(array), False, False)
openvino.save_model(openvino.Model([product], [x], "tiny"), out / "openvino_model.xml", compress_to_fp16=False)


def fill(layer, name, value):
    name = name.split("/")[-1]
    if value is None:
        setattr(layer, name, array if name == "weight" else array[0])


encoder = ctranslate2.specs.TransformerEncoderSpec(num_layers=1, num_heads=2)
spec = ctranslate2.specs.TransformerEncoderModelSpec(encoder)
ctranslate2.specs.model_spec.visit_spec(spec, fill)
spec.register_vocabulary([str(it) for it in range(64)])
spec.validate()
(out / "ct2").mkdir()
spec.save(str(out / "ct2"))

library = ctypes.CDLL(str(xgboost))
rows, labels = array[:, :4].copy(), (array[:, 0] > 2000).astype(numpy.float32)
pointer = lambda it: it.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def call(name, *args):
    if getattr(library, name)(*args):
        library.XGBGetLastError.restype = ctypes.c_char_p
        raise SystemExit(f"{name}: {library.XGBGetLastError()}")


matrix, booster = ctypes.c_void_p(), ctypes.c_void_p()
length = ctypes.c_uint64
call("XGDMatrixCreateFromMat", pointer(rows), length(64), length(4), ctypes.c_float(-1), ctypes.byref(matrix))
call("XGDMatrixSetFloatInfo", matrix, b"label", pointer(labels), length(64))
call("XGBoosterCreate", ctypes.byref(matrix), length(1), ctypes.byref(booster))
call("XGBoosterSetParam", booster, b"objective", b"binary:logistic")
for step in range(3):
    call("XGBoosterUpdateOneIter", booster, step, matrix)
for name in ("trees.ubj", "trees.json"):
    call("XGBoosterSaveModel", booster, str(out / name).encode())

# ExecuTorch's compiler of its schema writes a program. Tools that export one from PyTorch call it in the same way.
(out / "program.json").write_text('{"version": 0, "execution_plan": [{"name": "forward", "chains": [], "operators": []}]}')
schema = executorch / "exir/_serialize/program.fbs"
flatc = executorch / "data/bin/flatc"
flatc.chmod(0o755)
subprocess.run([flatc, "--binary", "-o", out, schema, out / "program.json"], check=True)
