# docker build -t hybrid-dip .                                                                         on the CPU
# docker build -t hybrid-dip --build-arg TORCH=https://download.pytorch.org/whl/cu128 .                with CUDA; run it with --gpus all
# docker run --rm -v "$PWD":/work hybrid-dip restore photo.png --task denoise -o out
FROM python:3.12-slim

ARG TORCH=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir "torch>=2.4" --index-url "$TORCH"

COPY pyproject.toml README.md LICENSE /src/
COPY hybrid_dip /src/hybrid_dip
COPY pretrained /src/pretrained
RUN pip install --no-cache-dir "/src[offline]"

WORKDIR /work
ENTRYPOINT ["hybrid-dip"]
CMD ["--help"]
