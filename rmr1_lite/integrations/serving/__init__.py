"""Starts existing text servers for a judge: vLLM, llama.cpp, `transformers serve`."""
