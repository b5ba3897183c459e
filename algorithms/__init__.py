"""The methods of lmgym, one file each: `Config`, `loss`, `train`."""

if __name__ != "lmgym.algorithms":
    raise ImportError("import this folder as `lmgym.algorithms` (install lmgym first), not as `algorithms`")
