"""What the machine of a measurement is called, and what it can do that matters to a product of matrices."""
from pathlib import Path

# The kernel's names, narrow to wide.
FEATURES = ["avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve"]


def _field(name):
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def features():
    words = (_field("flags") or _field("Features")).split()
    return [feature for feature in FEATURES if feature in words]


def description():
    """One line: "Intel(R) … (family 6, model 143): avx2 fma …"."""
    family = f" (family {_field('cpu family')}, model {_field('model')})" if _field("cpu family") else ""
    return f"{_field('model name') or 'unknown CPU'}{family}: {' '.join(features()) or 'none of ' + ' '.join(FEATURES)}"


def has_bf16():
    """Whether products in bf16 are faster than in float32 here: elsewhere they are emulated."""
    return any(feature in features() for feature in ["avx512_bf16", "amx_bf16", "bf16"])
