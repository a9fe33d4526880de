"""Versions and runs: which run made a version, which used it. Of a link, that of its source."""

from __future__ import annotations

from artfs.api.attributes import Attributes
from artfs.api.recorded import RecordedRun
from artfs.repo.recording import Recorder, origin


class Traced(Attributes):
    """What an artifact has to do with runs."""

    def logged_by(self) -> RecordedRun | None:
        """The run that made this version; None where none did, as for `artfs put`.

        Raises `ArtifactNotLoggedError`; `NotFound` of a link whose source was deleted.
        """
        version = self._logged()
        record, source = version.record, version.record.source
        if source is not None:
            record = version.repository.catalog.version(source.key, source.version)
        return RecordedRun.that_made(version.repository, record)

    def used_by(self) -> list[RecordedRun]:
        """The runs that used this version. Raises `ArtifactNotLoggedError`, `Unreachable`."""
        version = self._logged()
        found = version.repository.runs.users(*origin(version.key, version.record))
        return [RecordedRun(version.repository, key) for key in found]

    def note_use(self, recorder: Recorder) -> None:
        """Tell a run's recorder that the run uses this version."""
        version = self._logged()
        recorder.used(version.key, version.record, self.use_as or "")
