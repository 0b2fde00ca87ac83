"""Send what unfinished or offline runs on this machine have recorded and the store does not have yet.

usage: python -m pipelines.sync
"""

from __future__ import annotations

from data.errors import BadInput
from pipelines import command


def main(arguments: list[str]) -> None:
    """Send it, and list the runs that can be continued."""
    if arguments:
        print(__doc__.strip())
        if arguments[0] in ("-h", "--help"):
            return
        raise BadInput("takes no arguments", arguments[0], "leave it out")
    from rich.table import Table

    from pipelines import reports
    from pipelines.tracking import begun, journal, store, unfinished

    console = reports.console()
    with store.faults():
        begun.end_lost(store.connect(), store.unfinished())
    table = Table(title=f"{store.public(store.uri())}, runs in {store.unfinished()}", title_justify="left")
    for column in ("run", "sent", "then"):
        table.add_column(column, justify="right" if column == "sent" else "left", overflow="fold")
    faults = []
    for folder, header in reversed(unfinished.headers().items()):
        if journal.is_open(folder):
            table.add_row(header["name"], "", "is being recorded")
            continue
        try:
            sent, continues = unfinished.send(folder)
        except Exception as error:  # whatever the store's client raises; the other runs may fare better
            faults.append(f"{header['name']}: {store.plain(error)}")
            table.add_row(header["name"], "0", store.plain(error))
            continue
        again = f"make train-{header.get('recipe_name')} RESUME={header.get('group') or header['id']}"
        if header.get("search") or header.get("trial"):
            again = f"make tune-{header['recipe_name']} as before"
        table.add_row(header["name"], str(sent), f"to go on: {again}" if continues else "complete")
    console.print(table if table.row_count else f"{store.public(store.uri())}: nothing waits to be sent")
    if faults:
        what = f"{len(faults)} runs could not be sent ({faults[0]})"
        do = f"mend that and sync again, or give their records up: remove their folders in {store.unfinished()}"
        raise BadInput(what, store.public(store.uri()), do)


if __name__ == "__main__":
    command.main(main)
