# One image for the controller manager, the agents and the one-shot that makes the broker's credentials.
FROM python:3.11-slim-bookworm
WORKDIR /opt/kubemu
COPY pyproject.toml README.md ./
COPY broker broker
COPY cluster cluster
COPY agents agents
COPY scenarios scenarios
RUN pip install --no-cache-dir .
STOPSIGNAL SIGTERM
