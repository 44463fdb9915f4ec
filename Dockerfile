# One image per role, so that no role carries another's libraries:
#   docker build --target serve|dashboard|train|monitor|mlflow|proxy|secrets .
# Every stage starts from the same base, so a virtual environment built in one runs in another.

FROM python:3.11-slim AS builder
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=/opt/venv
COPY requirements/bootstrap.txt ./
RUN pip install --no-cache-dir --no-deps --require-hashes -r bootstrap.txt \
 && uv venv --python "$(command -v python3)" /opt/venv

# The download cache is the builder's own: mounted while installing, in no image.
FROM builder AS serve-venv
COPY requirements/serve.txt ./
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --require-hashes -r serve.txt

FROM builder AS dashboard-venv
COPY requirements/dashboard.txt ./
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --require-hashes -r dashboard.txt

FROM builder AS train-venv
COPY requirements/train.txt ./
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --require-hashes -r train.txt

FROM builder AS monitor-venv
COPY requirements/monitor.txt ./
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --require-hashes -r monitor.txt

FROM builder AS mlflow-venv
COPY requirements/mlflow.txt ./
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --require-hashes -r mlflow.txt


# What every role shares: a user without rights, and folders that named volumes take their
# owner from. HOME is a place any root file system, read-only too, leaves writable.
FROM python:3.11-slim AS runtime
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
LABEL org.opencontainers.image.vendor="Stock forecasting" \
      org.opencontainers.image.licenses=MIT
RUN groupadd --gid 10001 stock && useradd --uid 10001 --gid 10001 --home-dir /tmp stock \
 && install -d -o 10001 -g 10001 /data /data/prices /models /reports /mlflow /secrets
COPY --chmod=0755 <<'EOF' /usr/local/bin/answers-200
#!/usr/local/bin/python3 -I
"""answers-200 PORT PATH: exit 0 if this container answers 200 there; no proxy is asked."""
import http.client
import sys

connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=4)
connection.request("GET", sys.argv[2])
sys.exit(connection.getresponse().status != 200)
EOF
WORKDIR /app
USER 10001:10001
STOPSIGNAL SIGTERM

# The roles that read prices and bundles find them on the volumes.
FROM runtime AS worker
ENV STOCK_DATA_DIR=/data/prices STOCK_MODELS_DIR=/models STOCK_REPORTS_DIR=/reports \
    STOCK_DATABASE_URL=sqlite:////data/forecasts.db


# The API. Neither TensorFlow nor MLflow.
FROM worker AS serve
LABEL org.opencontainers.image.title="stock-forecasting-serve" \
      org.opencontainers.image.description="Stock price forecasts over HTTP"
COPY --from=serve-venv /opt/venv /opt/venv
COPY app.py answers.py alarms.py desk.py work_queue.py parallel.py forecast_cache.py readiness.py standings.py \
     realised.py champions.py cautions.py novelty.py served.py serving.py bases.py inference.py \
     forecast_log.py model_store.py recipes.py bands.py panel.py significance.py \
     data_pipeline.py generate_synthetic_data.py whole_files.py figures.py features.py calendars.py \
     versions.py config.py ./
COPY contracts/ contracts/
COPY records/ records/
COPY schemas/ schemas/
COPY web/ web/
COPY exhibits/ exhibits/
COPY prices/ prices/
COPY pretrained/ pretrained/
EXPOSE 8000
# Ready once every configured ticker has a champion; the trainer has an hour for that.
HEALTHCHECK --interval=10s --timeout=5s --start-period=3600s --retries=3 \
  CMD ["answers-200", "8000", "/ready"]
CMD ["uvicorn", "app:app", "--host", "0.0.0.0", "--port", "8000", "--log-level", "warning", \
     "--no-access-log", "--no-server-header", "--timeout-graceful-shutdown", "20"]


# The page. Talks to the API only.
FROM runtime AS dashboard
LABEL org.opencontainers.image.title="stock-forecasting-dashboard" \
      org.opencontainers.image.description="The page that shows stock price forecasts"
COPY --from=dashboard-venv /opt/venv /opt/venv
COPY .streamlit/ .streamlit/
COPY streamlit_app.py wording.py api_client.py answers.py config.py ./
COPY views/ views/
COPY charts/ charts/
COPY contracts/ contracts/
COPY schemas/ schemas/
EXPOSE 8501
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["answers-200", "8501", "/_stcore/health"]
CMD ["streamlit", "run", "streamlit_app.py", "--server.address", "0.0.0.0", "--server.port", \
     "8501", "--server.headless", "true", "--browser.gatherUsageStats", "false"]


# The trainer: healthy once every configured ticker has a champion. Three tickers at 50 epochs
# take minutes on a small machine; an hour is allowed before being unhealthy counts.
FROM worker AS train
LABEL org.opencontainers.image.title="stock-forecasting-train" \
      org.opencontainers.image.description="Trains and judges stock forecasting models"
COPY --from=train-venv /opt/venv /opt/venv
COPY train.py many.py many_trainings.py assignments.py recording.py \
     bundling.py group_training.py batched_fitting.py base_training.py fitting.py evaluation.py contest.py referee.py versions.py \
     walk_scores.py forecasters.py \
     as_published.py published_fits.py published_systems.py \
     tune.py many_searches.py search_trials.py search_space.py trial_ledger.py report.py scorecard.py \
     registry_commands.py succession.py pruning.py significance.py \
     forecast_log.py training_queue.py retraining.py leasing.py \
     baseline_arima.py model.py recipes.py registry.py metrics.py figures.py \
     serving.py served.py novelty.py bases.py inference.py model_store.py bands.py panel.py \
     data_pipeline.py generate_synthetic_data.py whole_files.py features.py calendars.py config.py ./
COPY contracts/ contracts/
COPY engines/ engines/
COPY pretraining/ pretraining/
COPY records/ records/
COPY prices/ prices/
COPY networks/ networks/
COPY tracking/ tracking/
COPY pretrained/ pretrained/
ENV MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT=true
HEALTHCHECK --interval=10s --timeout=30s --start-period=3600s --retries=3 \
  CMD ["python", "model_store.py", "check"]
CMD ["python", "train.py", "--missing", "--stay"]


# The loop after each session. One ticker's drift by hand:
#   docker compose run --rm monitor python drift_monitor.py AAPL
FROM worker AS monitor
LABEL org.opencontainers.image.title="stock-forecasting-monitor" \
      org.opencontainers.image.description="Watches served forecasts for drift"
COPY --from=monitor-venv /opt/venv /opt/venv
COPY watch.py settle_command.py rounds.py retraining.py leasing.py \
     registry_commands.py succession.py pruning.py registry.py evaluation.py contest.py fitting.py forecasters.py walk_scores.py referee.py \
     metrics.py baseline_arima.py model.py \
     drift_monitor.py drift_check.py many.py many_checks.py drift_report.py drift.py alerts.py \
     serving.py served.py novelty.py bases.py inference.py forecast_log.py \
     model_store.py recipes.py bands.py panel.py significance.py \
     data_pipeline.py generate_synthetic_data.py whole_files.py figures.py features.py calendars.py config.py ./
COPY contracts/ contracts/
COPY engines/ engines/
COPY watching/ watching/
COPY records/ records/
COPY prices/ prices/
COPY networks/ networks/
COPY tracking/ tracking/
COPY pretrained/ pretrained/
ENV MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT=true
# Healthy while a loop, this one or another, holds the lease that it renews as it works.
HEALTHCHECK --interval=120s --timeout=30s --start-period=180s --retries=3 \
  CMD ["python", "watch.py", "--alive"]
CMD ["python", "watch.py"]


# The tracking server. Only clients that name an allowed host get an answer. Where its runs live
# is a variable, because an argument would show the password to whoever lists processes.
FROM runtime AS mlflow
LABEL org.opencontainers.image.title="stock-forecasting-mlflow" \
      org.opencontainers.image.description="The tracking server of stock forecasting"
COPY --from=mlflow-venv /opt/venv /opt/venv
COPY --chmod=0755 deploy/images/with_files.py /usr/local/bin/with-files
ENV MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    MLFLOW_BACKEND_STORE_URI=sqlite:////mlflow/mlflow.db \
    MLFLOW_SERVER_ALLOWED_HOSTS=mlflow:5000,localhost:5000,127.0.0.1:5000
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
  CMD ["answers-200", "5000", "/health"]
CMD ["with-files", "MLFLOW_BACKEND_STORE_URI", "mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--workers", "1", \
     "--serve-artifacts", "--artifacts-destination", "/mlflow/artifacts"]


# Writes random passwords on the first start, then ends.
FROM runtime AS secrets
LABEL org.opencontainers.image.title="stock-forecasting-secrets" \
      org.opencontainers.image.description="Random passwords for the stack's first start"
COPY --chmod=0755 deploy/images/write_secrets.py /usr/local/bin/write-secrets
USER root
RUN install -d -o 10001 -g 10001 /secrets/db /secrets/stock /secrets/mlflow /secrets/grafana
USER 10001:10001
HEALTHCHECK NONE
CMD ["write-secrets"]


# One address for any number of API containers. Debian's HAProxy, kept up by its security team.
FROM debian:bookworm-slim AS proxy
LABEL org.opencontainers.image.vendor="Stock forecasting" \
      org.opencontainers.image.licenses=MIT \
      org.opencontainers.image.title="stock-forecasting-proxy" \
      org.opencontainers.image.description="One address for any number of API containers"
RUN apt-get update && apt-get install -y --no-install-recommends haproxy \
 && rm -rf /var/lib/apt/lists/*
COPY deploy/proxy/haproxy.cfg /etc/haproxy/haproxy.cfg
USER 10001:10001
STOPSIGNAL SIGUSR1
EXPOSE 8000 8443
# bash, because this image has no other program that speaks TCP
HEALTHCHECK --interval=10s --timeout=5s --start-period=3600s --retries=3 \
  CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8404; printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3; grep -q ' 200 ' <&3"]
CMD ["haproxy", "-db", "-f", "/etc/haproxy/haproxy.cfg"]
