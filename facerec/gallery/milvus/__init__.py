"""Galleries in Milvus, by URL."""
