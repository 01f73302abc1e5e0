"""The judge app: `python -m rmr1_lite app` judges, compares, ranks and lets people vote, with the model's
reasoning in view.

Start it with one of these; the first takes the nano judges, on http://127.0.0.1:7860:

    python -m rmr1_lite app
    python -m rmr1_lite app --judge runs/grpo/adapter --judge openai:MODEL@http://127.0.0.1:8000/v1
"""
