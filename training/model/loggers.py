"""Where a fit writes its curves: TensorBoard always, MLflow where a server is named."""

import os
from pathlib import Path

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger

from training.config import ConfigError, RunConfig
from training.files import write_text

MLFLOW_SERVER = "MLFLOW_TRACKING_URI"  # MLflow's own variable
MLFLOW_RUN = "mlflow-run"  # a file with the run's id: a resumed fit goes on in it


def loggers(config: RunConfig, directory: Path) -> list[Logger]:
    """Return the loggers of a fit that works in `directory`.

    Raises ConfigError where MLFLOW_TRACKING_URI is set, but MLflow is not installed or does not answer.
    """
    tensorboard = TensorBoardLogger(directory, name=None, version="logs")
    server = os.environ.get(MLFLOW_SERVER)
    return [tensorboard, _mlflow(config, directory, server)] if server else [tensorboard]


def _mlflow(config: RunConfig, directory: Path, server: str) -> MLFlowLogger:
    try:
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{MLFLOW_SERVER} is set, but MLflow is not installed: pip install mlflow-skinny, or unset it"
        ) from error
    known = directory / MLFLOW_RUN
    try:
        logger = MLFlowLogger(
            experiment_name=config.name,
            run_name=f"{config.name} {config.version}",
            tracking_uri=server,
            run_id=known.read_text(encoding="utf-8") if known.exists() else None,
        )
        logger.log_hyperparams(config.model_dump(mode="json"))
    except MlflowException as error:
        raise ConfigError(f"{MLFLOW_SERVER}: {error}") from error
    write_text(known, str(logger.run_id))
    return logger
