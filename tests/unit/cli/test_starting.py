from own_process import told_by

LOADED = """
    import json, sys
    import app.cli.main

    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
SLOW = {
    "alembic", "botorch", "celery", "fastapi", "lightgbm", "pandas", "plotly", "pyarrow", "scipy",
    "sklearn", "sqlalchemy", "torch", "uvicorn",
}  # fmt: skip


def test_the_command_line_starts_without_what_single_commands_need():
    loaded = set(told_by(LOADED))
    assert {"typer", "rich"} <= loaded
    assert SLOW & loaded == set()
