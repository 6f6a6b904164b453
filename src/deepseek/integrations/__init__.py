"""What people already work with, as thin doors to the rooms: scikit-learn, MLflow, Hugging Face, Git.

from deepseek.sklearn import AutoClassifier, to_bundle
from deepseek.integrations.mlflow import log_model, load_model
from deepseek.integrations.huggingface import push_bundle, pull_bundle
python -m deepseek.integrations.verify_files .               # for hooks and actions

Each file needs its own library and nothing else; nothing of it is imported with this package.
"""
