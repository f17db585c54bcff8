"""Twenty promoters, each a process of its own, in twenty rounds: `python racers.py URL PROCESSES ROUNDS`.

All expect the same generation and insert at the same moment. They import the ledger and nothing else, are forked from
one process that has done nothing yet, and live through all rounds. The last one dies in every promotion of its: its own
fork is killed (SIGKILL) in the middle of the transaction in even rounds, and right after it in odd ones. In the first
two rounds of every four it goes before the others, so that it surely comes that far.
Prints one line of JSON per promotion: [round, promoter, "won" | what the loser was told | "killed"].
"""

import json
import multiprocessing
import os
import signal
import sys
from typing import Any

from sqlalchemy import event

from holdfast.errors import Conflict
from holdfast.registry.ledger import Ledger


def promote(book: Ledger, number: int, expected: int) -> str:
    """Promote version `number`; return what came of it."""
    try:
        book.promote("toy", str(number), f"digest-{number}", expected, f"round {expected}", f"promoter {number}")
    except Conflict as conflict:
        return str(conflict)
    return "won"


def die_promoting(book: Ledger, number: int, expected: int) -> str:
    """Promote in a fork that is killed before the commit, in odd rounds after it; return what came of it."""
    pid = os.fork()
    if pid == 0:
        if expected % 2 == 0:
            event.listen(book._engine, "commit", lambda connection: os.kill(os.getpid(), signal.SIGKILL))
        lost = promote(book, number, expected) != "won"
        os.kill(os.getpid(), signal.SIGTERM if lost else signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return "killed" if os.WTERMSIG(status) == signal.SIGKILL else "lost"


def race(url: str, number: int, rounds: int, barrier: Any, answers: Any, mortal: bool) -> None:
    """Promote once per round, together with the others."""
    book = Ledger(url)
    for expected in range(rounds):
        first = mortal and expected % 4 < 2
        if first:
            answers.put((expected, number, die_promoting(book, number, expected)))
        barrier.wait()
        if not first:
            answers.put((expected, number, (die_promoting if mortal else promote)(book, number, expected)))
        barrier.wait()


def main(url: str, processes: int, rounds: int) -> None:
    """Run the race and print what each promoter was told."""
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(processes, timeout=120), context.Queue()
    given = [(url, number, rounds, barrier, answers, number == processes - 1) for number in range(processes)]
    racers = [context.Process(target=race, args=args) for args in given]
    for racer in racers:
        racer.start()
    for _ in range(processes * rounds):
        print(json.dumps(answers.get(timeout=120)))
    for racer in racers:
        racer.join(timeout=60)
    sys.exit(max(abs(racer.exitcode or 0) for racer in racers))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
