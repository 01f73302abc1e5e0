"""The judge app: `python app.py` opens the page on the nano judges, or on what `make demo` made.

python app.py --judge runs/grpo/adapter --judge openai:MODEL@http://127.0.0.1:8000/v1
"""

from __future__ import annotations

from rmr1_lite.app.command import main

if __name__ == "__main__":
    main()
