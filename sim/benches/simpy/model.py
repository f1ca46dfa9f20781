"""The bare model in SimPy, as its documentation writes such models: a process per home, a Resource per line.

model.py turns HOMES SECONDS    lines are Resources: a home waits for its turn, then for its chunk
model.py times HOMES SECONDS    lines are the times until which they are taken: nothing but timeouts
model.py version                of SimPy

Prints CPU seconds of the run alone (without start, imports and the making of homes), how often homes went on, chunks
fetched, and how long these waited for their turn, in microseconds of virtual time. Random numbers are those of the Rust
side, drawn in line: less work than `random.expovariate` and `random.randrange`.
"""

import math
import sys
import time

import simpy

PAUSE = 60_000_000
CHUNKS = 30
BITS = (1 << 64) - 1
FACTOR, TERM = 6364136223846793005, 1442695040888963407


class Tally:
    def __init__(self):
        self.resumed = self.chunks = self.waited = 0


def pause(state):
    """Exponential, of whole microseconds."""
    return math.ceil(-math.log(((state >> 11) + 1) / (1 << 53)) * PAUSE)


def in_turns(env, state, takes, lines, tally):
    homes = len(takes)
    while True:
        state = state * FACTOR + TERM & BITS
        yield env.timeout(pause(state))
        tally.resumed += 1
        for _ in range(CHUNKS):
            state = state * FACTOR + TERM & BITS
            source = state * homes >> 64
            asked = env.now
            with lines[source].request() as turn:
                yield turn
                tally.resumed += 1
                waited = env.now - asked
                yield env.timeout(takes[source])
            tally.resumed += 1
            tally.chunks += 1
            tally.waited += waited


def by_times(env, state, takes, free, tally):
    homes = len(takes)
    while True:
        state = state * FACTOR + TERM & BITS
        yield env.timeout(pause(state))
        tally.resumed += 1
        for _ in range(CHUNKS):
            state = state * FACTOR + TERM & BITS
            source = state * homes >> 64
            asked = env.now
            begin = max(asked, free[source])
            free[source] = end = begin + takes[source]
            yield env.timeout(end - asked)
            tally.resumed += 1
            tally.chunks += 1
            tally.waited += begin - asked


def mix(value):
    """SplitMix64's step."""
    z = value + 0x9E3779B97F4A7C15 & BITS
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & BITS
    z = (z ^ z >> 27) * 0x94D049BB133111EB & BITS
    return z ^ z >> 31


def run(kind, homes, seconds):
    env, tally = simpy.Environment(), Tally()
    # Half a second to three and a half for a chunk.
    takes = [500_000 + (mix(~home & BITS) * 3_000_000 >> 64) for home in range(homes)]
    if kind == "turns":
        home_process, lines = in_turns, [simpy.Resource(env) for _ in range(homes)]
    else:
        home_process, lines = by_times, [0] * homes
    for home in range(homes):
        env.process(home_process(env, mix(home), takes, lines, tally))
    begin = time.process_time()
    env.run(until=seconds * 1_000_000)
    print(time.process_time() - begin, tally.resumed, tally.chunks, tally.waited)


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "version":
        print(simpy.__version__)
    else:
        run(what, *map(int, rest))
