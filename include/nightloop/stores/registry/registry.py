"""The model registry: MLflow keeps runs, models and an alias for people; the ledger decides what they mean."""

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nightloop.fault import Fault, NightloopError
from nightloop.run import RunKey
from nightloop.stores.registry.model_files import digest_of, read_model

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

CHAMPION_ALIAS = "champion"
_KEY, _DIGEST, _RUN_KEY, _RECIPE, _SUPERSEDED = (
    f"nightloop.{name}" for name in ("key", "digest", "run_key", "recipe", "superseded")
)
_MODEL_FOLDER, _MODEL_FILE = "model", "model.onnx"
# MLflow's limits: entries of one call, characters of one parameter
_METRICS_PER_CALL, _PARAMS_PER_CALL = 1000, 100
_PARAM_CHARACTERS = 6000
_MOST_RUNS = 10_000  # where none is asked for MLflow returns a thousand
_ENVIRONMENT = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A candidate's model in the artifact store: its MLflow run, where its bytes lie, and their digest.

    `page` is the run in MLflow's web UI; empty where the tracking store has none.
    """

    run_id: str
    uri: str
    digest: str
    page: str = ""


class Registry:
    """One experiment and one registered model per use case. MLflow is imported at the first call that needs it."""

    def __init__(self, tracking_uri: str, artifacts: str) -> None:
        self._tracking_uri = tracking_uri
        self._artifacts = artifacts if "://" in artifacts else Path(artifacts).resolve().as_uri()

    @cached_property
    def _client(self) -> "MlflowClient":
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self._tracking_uri, registry_uri=self._tracking_uri)

    def log_candidate(
        self,
        run_key: RunKey,
        candidate: str,
        model: bytes,
        *,
        params: Mapping[str, object],
        epochs: Sequence[Mapping[str, float]] = (),
        figures: Mapping[str, float] | None = None,
    ) -> LoggedModel:
        """Log one candidate of a run: its parameters, its metrics per epoch, its closing figures, its ONNX model.

        Logged again with the same model, it is found; with another, the earlier MLflow runs are marked superseded.
        """
        key, digest = f"{run_key}/{candidate}", digest_of(model)
        earlier = self._runs(run_key.scope, key)
        for run in earlier:
            if run.info.status == "FINISHED" and run.data.tags.get(_DIGEST) == digest:
                return self._logged(run)
        tags = {_KEY: key, _DIGEST: digest, _RUN_KEY: str(run_key)}
        run = self._client.create_run(
            self._experiment(run_key.scope), tags=tags, run_name=f"{run_key.night} {candidate}"
        )
        self._log_params(run.info.run_id, params)
        self._log_metrics(run.info.run_id, epochs, figures or {})
        self._log_model(run.info.run_id, model)
        # last: only a run that holds everything is FINISHED, and found again by a retry
        self._client.set_terminated(run.info.run_id)
        for old in earlier:
            self._supersede(old)
        return self._logged(run)

    def log_text(self, logged: LoggedModel, name: str, text: str) -> None:
        """Keep a page or document beside a logged model, as an artifact of its MLflow run; it replaces its namesake."""
        self._client.log_text(logged.run_id, text, name)

    def register(self, run_key: RunKey, logged: LoggedModel, recipe: str) -> str:
        """Make a logged model a version of the use case's registered model, once per digest; return its address.

        The address names the ONNX file itself and can be read by `read_model`, without MLflow.
        """
        if self._find_version(run_key.scope, logged.digest) is None:
            self._ensure_registered_model(run_key.scope)
            source = logged.uri.removesuffix(f"/{_MODEL_FILE}")
            tags = {_DIGEST: logged.digest, _RUN_KEY: str(run_key), _RECIPE: recipe}
            self._client.create_model_version(run_key.scope, source, run_id=logged.run_id, tags=tags)
        return logged.uri

    def trainings(self, scope: str) -> list[tuple[str, str, Mapping[str, str]]]:
        """Return every training that was logged for a use case: its MLflow run, its name, its parameters and pins."""
        experiment = self._client.get_experiment_by_name(scope)
        if experiment is None:
            return []
        found = self._client.search_runs([experiment.experiment_id], max_results=_MOST_RUNS)
        return [(run.info.run_id, run.info.run_name or "", dict(run.data.params)) for run in found]

    def set_champion_alias(self, scope: str, digest: str) -> None:
        """Point the alias `champion` at the version with this digest: a projection of the ledger, for people.

        Raises:
            NightloopError: no registered version has the digest.
        """
        version = self._find_version(scope, digest)
        if version is None:
            where = f"registered model {scope}"
            raise NightloopError(Fault(where, f"a version with digest {digest}", "none", "register the model first"))
        self._client.set_registered_model_alias(scope, CHAMPION_ALIAS, version.version)

    @staticmethod
    def read_model(uri: str, digest: str) -> bytes:
        """Return the bytes of a registered model; see `model_files.read_model`."""
        return read_model(uri, digest)

    def _experiment(self, scope: str) -> str:
        from mlflow.exceptions import MlflowException

        if self._client.get_experiment_by_name(scope) is None:
            try:
                self._client.create_experiment(scope, artifact_location=f"{self._artifacts}/{scope}")
            except MlflowException as error:
                # another candidate, trained side by side, may have made it since
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
        experiment = self._client.get_experiment_by_name(scope)
        assert experiment is not None  # noqa: S101 - it was created above, by us or by another
        return str(experiment.experiment_id)

    def _runs(self, scope: str, key: str) -> "list[Run]":
        return list(self._client.search_runs([self._experiment(scope)], f"tags.`{_KEY}` = '{key}'"))

    def _supersede(self, run: "Run") -> None:
        self._client.set_tag(run.info.run_id, _SUPERSEDED, "true")
        # left by an attempt that was killed: it would be shown as running for ever
        if run.info.status == "RUNNING":
            self._client.set_terminated(run.info.run_id, status="KILLED")

    def _log_params(self, run_id: str, params: Mapping[str, object]) -> None:
        from mlflow.entities import Param

        entries = [Param(name, str(value)[:_PARAM_CHARACTERS]) for name, value in params.items()]
        for start in range(0, len(entries), _PARAMS_PER_CALL):
            self._client.log_batch(run_id, params=entries[start : start + _PARAMS_PER_CALL])

    def _log_metrics(self, run_id: str, epochs: Sequence[Mapping[str, float]], figures: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        steps = [*epochs, figures]
        entries = [Metric(name, value, now, step) for step, one in enumerate(steps) for name, value in one.items()]
        for start in range(0, len(entries), _METRICS_PER_CALL):
            self._client.log_batch(run_id, metrics=entries[start : start + _METRICS_PER_CALL])

    def _log_model(self, run_id: str, model: bytes) -> None:
        """Log the model in MLflow's own layout, with exactly these bytes, so that the digest holds."""
        import mlflow.onnx
        import onnx

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / _MODEL_FOLDER
            requirements = [f"onnx=={onnx.__version__}", "onnxruntime"]
            # external data would lie in a second file, which no digest covers
            mlflow.onnx.save_model(
                onnx.load_model_from_string(model), path, pip_requirements=requirements, save_as_external_data=False
            )
            (path / _MODEL_FILE).write_bytes(model)
            self._client.log_artifacts(run_id, str(path), _MODEL_FOLDER)

    def _ensure_registered_model(self, scope: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(scope)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _find_version(self, scope: str, digest: str) -> "ModelVersion | None":
        versions = self._client.search_model_versions(f"name = '{scope}'")
        return next((version for version in versions if version.tags.get(_DIGEST) == digest), None)

    def _logged(self, run: "Run") -> LoggedModel:
        uri = f"{run.info.artifact_uri}/{_MODEL_FOLDER}/{_MODEL_FILE}"
        page = f"{self._tracking_uri.rstrip('/')}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
        has_pages = self._tracking_uri.startswith(("http://", "https://"))
        return LoggedModel(run.info.run_id, uri, run.data.tags[_DIGEST], page if has_pages else "")
