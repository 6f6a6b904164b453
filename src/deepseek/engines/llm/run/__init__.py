"""Engines that generate: continuous batching in OpenVINO GenAI, torch or vLLM, and which is taken."""
