"""From pieces of tracks to whole people: who comes out on which side when two have met.

While two people are one for the networks, a track can change from one of them to the other. So
tracks are cut where a person's speed or clothes change, and the pieces put together again all at
once: the pairs that agree best in place, speed, size and clothes are one person.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np

from medvial.gait.track import Points, Sighting, Track

_LINK_S = 2.5  # the longest time out of sight, behind a pillar or another person
_LINK_SIZES = (0.7, 1.4)
_WINDOW_S = 0.65  # before and after a cut, for speed and clothes
_LEAST_PIECE = 2  # sightings with a speed
# What counts one in the comparison of two pieces; a cut is where speed and clothes change by one.
_PLACE = 0.3  # by the body's height, between where one goes on to and the other comes from
_SPEED = 0.4  # by the body's height a second: half of a slow walk
_CLOTHES = 30.0  # of 255
_GAP_S = 1.0
_MOST = 4.0  # a pair that differs more is two people
_ABSORB = 0.25  # by the body's height, from the way of the person

Piece = list[Sighting]


def join(tracks: list[Track]) -> list[Track]:
    """People in the order of time, each sighting of a track given to one of them."""
    cut = [_cut(track) for track in tracks if track.sightings]
    people = _chains([[piece for piece in own if len(piece) >= _LEAST_PIECE] for own in cut])
    for piece in (piece for own in cut for piece in own if len(piece) < _LEAST_PIECE):
        _put(people, piece, _fits_in)
    people = _filled(people)
    return [Track(chain) for chain in sorted(people, key=lambda chain: chain[0].time_s)]


def _cut(track: Track) -> list[Piece]:
    """A track's sightings, parted where the person seems to become another."""
    sightings = track.sightings
    change = np.array([_change(sightings, place) for place in range(len(sightings))])
    cuts = [
        place
        for place in range(1, len(sightings))
        if change[place] >= 1
        and change[place] > change[place - 1]
        and change[place] >= change[place : place + 2].max()
    ]
    ends = [0, *cuts, len(sightings)]
    return [sightings[start:end] for start, end in itertools.pairwise(ends) if end > start]


def _change(sightings: Piece, place: int) -> float:
    """How much speed or clothes differ before and from a sighting on; 1 is much."""
    before = _lately(sightings[:place])
    after = _soon(sightings[place:])
    if min(len(before), len(after)) < _LEAST_PIECE:
        return 0.0
    return _speeds(before, after) + _clothes(before, after)


def _lately(sightings: Piece) -> Piece:
    return [each for each in sightings if sightings[-1].time_s - each.time_s <= _WINDOW_S]


def _soon(sightings: Piece) -> Piece:
    return [each for each in sightings if each.time_s - sightings[0].time_s <= _WINDOW_S]


def _line(sightings: Piece) -> tuple[Points, Points]:
    """Place (x, y) at the time 0, and speed, in pixels and pixels a second."""
    times = np.array([each.time_s for each in sightings])
    places = np.array([(each.circle.x, each.circle.y) for each in sightings])
    slope = np.polyfit(times - times.mean(), places, 1)[0]
    return places.mean(axis=0) - slope * times.mean(), slope


def _height(*sightings: Sighting) -> float:
    return max(1.0, float(np.median([each.height for each in sightings])))


def _speeds(before: Piece, after: Piece) -> float:
    change = _line(after)[1][0] - _line(before)[1][0]
    return abs(float(change)) / _height(*before, *after) / _SPEED


def _clothes(before: Piece, after: Piece) -> float:
    colours = [
        [each.clothes for each in part if each.clothes is not None] for part in (before, after)
    ]
    if not all(colours):
        return 0.0
    one, other = (np.mean(part, axis=0) for part in colours)
    return float(np.abs(one - other).mean()) / _CLOTHES


def _cost(earlier: Piece, later: Piece) -> float:
    """How badly the later piece goes on from the earlier one; infinite where it cannot."""
    gap = later[0].time_s - earlier[-1].time_s
    if not 0 < gap <= _LINK_S:
        return math.inf
    before, after = _lately(earlier), _soon(later)
    if not _LINK_SIZES[0] <= _height(*after) / _height(*before) <= _LINK_SIZES[1]:
        return math.inf
    middle = (earlier[-1].time_s + later[0].time_s) / 2
    (place, speed), (other, other_speed) = _line(before), _line(after)
    apart = place + speed * middle - other - other_speed * middle
    far = float(np.hypot(*apart)) / _height(*before, *after) / (_PLACE * (1 + gap))
    return far + _speeds(before, after) + _clothes(before, after) + gap / _GAP_S


def _chains(tracks: list[list[Piece]]) -> list[Piece]:
    """The pieces of some tracks put together, the pairs that fit best first."""
    pieces = [piece for track in tracks for piece in track]
    starts = np.cumsum([0, *(len(track) for track in tracks)]).tolist()
    own = {(k, k + 1) for a, b in itertools.pairwise(starts) for k in range(a, b - 1)}
    pairs = sorted(
        # What was one track and fits nothing else stays one: somebody who turned round, say.
        (cost > _MOST, cost, first, second)
        for first, second in itertools.permutations(range(len(pieces)), 2)
        if (cost := _cost(pieces[first], pieces[second])) <= _MOST
        or ((first, second) in own and cost < math.inf)
    )
    follower: dict[int, int] = {}
    followers: set[int] = set()
    for _, _, first, second in pairs:
        if first not in follower and second not in followers:
            follower[first] = second
            followers.add(second)
    chains = []
    for place in range(len(pieces)):
        if place not in followers:
            chain = list(pieces[place])
            while (place := follower.get(place, -1)) >= 0:
                chain += pieces[place]
            chains.append(chain)
    return chains


def _filled(chains: list[Piece]) -> list[Piece]:
    """The chains, those that fit into a gap of another put there."""
    kept: list[Piece] = []
    for chain in sorted(chains, key=len, reverse=True):
        _put(kept, chain, _fits_gap)
    return kept


def _put(people: list[Piece], piece: Piece, fits: Callable[[Piece, Piece], bool]) -> None:
    """Give a piece to the first person whom it fits, or make it one of its own."""
    home = next((person for person in people if fits(person, piece)), None)
    if home is None:
        people.append(list(piece))
    else:
        home.extend(piece)
        home.sort(key=lambda each: each.time_s)


def _fits_gap(chain: Piece, other: Piece) -> bool:
    """Whether a person goes on as the other, and then as themselves again."""
    before = [each for each in chain if each.time_s < other[0].time_s]
    after = [each for each in chain if each.time_s > other[-1].time_s]
    if min(len(before), len(other), len(after)) < _LEAST_PIECE:
        return False
    whole = len(before) + len(after) == len(chain)
    return whole and max(_cost(before, other), _cost(other, after)) <= _MOST


def _fits_in(chain: Piece, piece: Piece) -> bool:
    """Whether a person was at a single sighting's place when they were not seen."""
    (single,) = piece
    times = [each.time_s for each in chain]
    if single.time_s in times or not times[0] < single.time_s < times[-1]:
        return False
    x, y = (
        np.interp(single.time_s, times, [getattr(each.circle, name) for each in chain])
        for name in ("x", "y")
    )
    apart = np.hypot(single.circle.x - x, single.circle.y - y)
    return bool(apart <= _ABSORB * _height(*chain)) and _clothes(chain, piece) <= 1
