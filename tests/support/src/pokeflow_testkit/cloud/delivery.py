"""Uploads of a job to S3: checkpoints and outputs while it runs, the rest at its end."""

from pathlib import Path

from . import buckets, machines
from .state import Row, State


class LostError(Exception):
    """An upload that failed, with a message."""


class Delivery:
    """The uploads of one run of a job, from the folders that its containers see as /opt/ml."""

    def __init__(self, state: State, row: Row, folders: list[Path]) -> None:
        self.state, self.row, self.folders = state, row, folders
        self.training = "TrainingJobName" in row
        self.seen: dict[Path, dict[str, tuple[int, int]]] = {}
        for _, folder in self._watched_folders():
            known = self.seen.setdefault(folder, {})
            list(machines.changed_files(folder, known))  # restored files need not be sent again

    def _watched_folders(self) -> list[tuple[str, Path]]:
        if self.training:
            pairs = [machines.checkpoints(self.row)]
        else:
            outputs = machines.outputs(self.row)
            pairs = [(o["S3Uri"], o["LocalPath"]) for o in outputs if o["S3UploadMode"] == "Continuous"]
        return [(uri, machines.inside(ml, local)) for uri, local in pairs if uri for ml in self.folders]

    def _put(self, uri: str, content: bytes) -> None:
        try:
            buckets.write(self.state, uri, content)
        except FileNotFoundError as error:
            raise LostError(str(error)) from error

    def _put_folder(self, uri: str, folder: Path, seen: dict[str, tuple[int, int]]) -> None:
        for name, content in machines.changed_files(folder, seen):
            self._put(f"{uri.rstrip('/')}/{name}", content)

    def sync(self) -> None:
        """Send new files of the checkpoints, or of the outputs that are sent continuously."""
        for uri, folder in self._watched_folders():
            self._put_folder(uri, folder, self.seen[folder])

    def all(self, name: str, failed: bool) -> None:
        """Send the outputs of the job, and record its message and the address of its model."""
        if self.training:
            self._send_training(name, failed)
        else:
            self._send_processing(failed)

    def _send_processing(self, failed: bool) -> None:
        messages = (machines.failure(ml, "output/message") for ml in self.folders)
        if message := next(filter(None, messages), ""):
            self.row["ExitMessage"] = message
        for output in machines.outputs(self.row) if not failed else ():
            for ml in self.folders:
                self._put_folder(output["S3Uri"], machines.inside(ml, output["LocalPath"]), {})

    def _send_training(self, name: str, failed: bool) -> None:
        config = self.row["OutputDataConfig"]
        base, whole = f"{config['S3OutputPath'].rstrip('/')}/{name}/output", config.get("CompressionType") == "NONE"
        for folder, archive in (("output/data", "output"), ("model", "model")):
            if failed and archive == "model":
                continue
            folders = [ml / folder for ml in self.folders]
            if whole:
                for source in folders:
                    self._put_folder(f"{base}/{archive}", source, {})
            elif packed := machines.archive(folders):
                self._put(f"{base}/{archive}.tar.gz", packed)
        if not failed:
            with self.state.lock:
                uri = f"{base}/{'model/' if whole else 'model.tar.gz'}"
                self.row["ModelArtifacts"] = {"S3ModelArtifacts": uri}
