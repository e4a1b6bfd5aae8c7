"""Writes pickles of every kind that tools from PyPI make into the named folder, and prints the files' names."""

import datetime
import fractions
import io
import pickle
import sys
import zipfile
from pathlib import Path

import cloudpickle
import dill
import joblib
import numpy

out = Path(sys.argv[1])


class Runs:
    """A malicious object: loading it calls a function."""

    def __reduce__(self):
        return (print, ("loaded",))


objects = {
    "call": Runs(),
    "date": datetime.datetime(2026, 1, 1),
    "fraction": [fractions.Fraction(1, 3)] * 10,
    "array": numpy.arange(10.0),
    "large-array": numpy.arange(100_000.0),
    "objects": numpy.array([{"a": 1}, None, Runs()], dtype=object),
    "state": {f"layer.{i}.weight": numpy.ones((4, 4)) for i in range(40)},
    "late-call": [list(range(200)), Runs()],
}


def write(name, bytes_):
    (out / name).write_bytes(bytes_)


for label, value in objects.items():
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        write(f"pickle-{label}-{protocol}", pickle.dumps(value, protocol=protocol))
    buffer = io.BytesIO()
    joblib.dump(value, buffer)
    write(f"joblib-{label}", buffer.getvalue())
    for compress in ("zlib", "gzip", "bz2", "lzma", "xz"):
        buffer = io.BytesIO()
        joblib.dump(value, buffer, compress=(compress, 3))
        write(f"joblib-{compress}-{label}", buffer.getvalue())
    write(f"dill-{label}", dill.dumps(value))
    write(f"cloudpickle-{label}", cloudpickle.dumps(value))

write("dill-lambda", dill.dumps(lambda x: x + 1))
write("dill-recurse", dill.dumps(lambda x: x + 1, recurse=True))
write("cloudpickle-lambda", cloudpickle.dumps(lambda x: x + 1))
write("cloudpickle-class", cloudpickle.dumps(type("Made", (), {"run": lambda self: 1})))

buffer = io.BytesIO()
numpy.save(buffer, objects["objects"], allow_pickle=True)
write("npy-objects", buffer.getvalue())
buffer = io.BytesIO()
numpy.savez(buffer, weights=objects["array"], objects=objects["objects"])
write("npz-objects", buffer.getvalue())

for label, method in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(objects["call"], protocol=2))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data/0", bytes(4096))
    write(f"torch-zip-{label}", buffer.getvalue())
    # Other bytes before the archive: readers find a zip from its end.
    write(f"torch-zip-{label}-behind-text", b"# A harmless card\n" + buffer.getvalue())
    write(f"torch-zip-{label}-behind-header", (2).to_bytes(8, "little") + b"{}" + buffer.getvalue())

# The legacy format of torch.save: a magic number, then several pickles.
write(
    "torch-legacy",
    pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
    + pickle.dumps(1001, protocol=2)
    + pickle.dumps({"little_endian": True}, protocol=2)
    + pickle.dumps(objects["call"], protocol=2),
)
buffer = io.BytesIO()
with zipfile.ZipFile(buffer, "w") as archive:
    archive.writestr("__init__.py", "import os\nos.system('id')\n")
write("zip-of-code", buffer.getvalue())
print("\n".join(sorted(it.name for it in out.iterdir())))
