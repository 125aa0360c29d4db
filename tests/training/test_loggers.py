"""Where the curves of a fit go."""

from pathlib import Path

import pytest
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger
from mlflow.tracking import MlflowClient

from training.config import ConfigError, RunConfig
from training.model.finetune import MLFLOW_SERVER, loggers

CONFIG = RunConfig(stage="small", name="parts", version="3")


def test_tensorboard_alone_where_no_server_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MLFLOW_SERVER, raising=False)
    (logger,) = loggers(CONFIG, tmp_path)
    assert isinstance(logger, TensorBoardLogger)
    assert Path(logger.log_dir) == tmp_path / "logs"


def test_a_resumed_fit_goes_on_in_its_mlflow_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = (tmp_path / "store").as_uri()
    monkeypatch.setenv(MLFLOW_SERVER, store)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    first, again = (_mlflow(tmp_path) for _ in range(2))
    assert first.run_id == again.run_id
    assert again.run_id is not None
    again.log_metrics({"validation/dice": 0.5}, step=10)
    run = MlflowClient(store).get_run(again.run_id)
    assert run.info.run_name == "parts 3"
    assert run.data.metrics == {"validation/dice": 0.5}
    assert run.data.params["fit/batch_size"] == "32"


def test_a_server_that_cannot_be_used_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MLFLOW_SERVER, "gopher://nowhere")
    with pytest.raises(ConfigError, match=MLFLOW_SERVER):
        loggers(CONFIG, tmp_path)


def _mlflow(directory: Path) -> MLFlowLogger:
    logger = loggers(CONFIG, directory)[1]
    assert isinstance(logger, MLFlowLogger)
    return logger
