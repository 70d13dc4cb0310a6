# The hosted demo: `docker build -t latent-lab .`, then `docker run --init -p 8501:8501 -v latent-lab:/data latent-lab`.
# docs/hosting.md says what else a host may want to know.
FROM python:3.12-slim

# Builds of PyTorch for processors: a fifth of the size of those with CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG TORCH=2.14.1
ARG TORCHVISION=0.29.1

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    # What it is: open to strangers, with everything that is kept on one volume.
    GENMODELS_DEMO=1 \
    GENMODELS_HOME=/data \
    # Memory that many threads freed goes back to the system rather than into an arena of each.
    MALLOC_ARENA_MAX=2 \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0 \
    STREAMLIT_SERVER_PORT=8501

# The user and group 1000 that Spaces run as; /data is theirs, so that a new volume is too.
RUN useradd --create-home --uid 1000 lab && install --directory --owner=lab --group=lab /data

WORKDIR /app
# First what changes seldom: a change of the code does not fetch PyTorch again.
COPY requirements.txt constraints.txt ./
RUN pip install --extra-index-url "${TORCH_INDEX}" \
    "torch==${TORCH}+cpu" "torchvision==${TORCHVISION}+cpu" -r requirements.txt
COPY .streamlit .streamlit
COPY genmodels genmodels
COPY app app
COPY pages pages
COPY streamlit_app.py LICENSE ./
RUN python -m compileall -q -j 0 genmodels app pages streamlit_app.py

USER lab
VOLUME /data
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
CMD ["python", "-m", "streamlit", "run", "streamlit_app.py"]
