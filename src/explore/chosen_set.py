"""Which patches of an image, or images of a bag, a person gives the network, and in which order."""

import random
from dataclasses import dataclass, field

Corner = tuple[int, int]  # upper left, (y, x)


@dataclass
class ChosenSet:
    """Elements by their numbers: 0, 1, ... are those drawn, -1, -2, ... those put in by hand.

    So a number stays that of its element when more, or fewer, are drawn. At least one element stays in.
    """

    drawn: list[Corner]  # of a bag, whose images have no places, anything
    added: list[Corner] = field(default_factory=list)
    out: set[int] = field(default_factory=set)
    shuffles: int = 0

    def numbers(self) -> list[int]:
        """All elements, in the order in which the network gets those that are in."""
        numbers = [*range(len(self.drawn)), *(-1 - place for place in range(len(self.added)))]
        if self.shuffles:
            random.Random(self.shuffles).shuffle(numbers)
        return numbers

    def inside(self) -> list[int]:
        return [number for number in self.numbers() if number not in self.out]

    def corner(self, number: int) -> Corner:
        return self.drawn[number] if number >= 0 else self.added[-1 - number]

    def redraw(self, drawn: list[Corner]) -> None:
        """Others, or more of the same: what was put in or taken out by hand stays so where it is still there."""
        self.drawn = drawn
        self.out &= set(self.numbers())
        if not self.inside():
            self.out.clear()

    def toggle(self, number: int) -> bool:
        """Take out, or put in again; False where it is the last one that is in."""
        if self.inside() == [number]:
            return False
        self.out ^= {number}
        return True

    def put_in(self, y: float, x: float, patch_size: int, image_size: tuple[int, int]) -> None:
        """A new patch, centred at the pixel as far as the image allows."""
        corner = [
            min(max(round(at - patch_size / 2), 0), side - patch_size)
            for at, side in zip((y, x), image_size, strict=True)
        ]
        self.added.append((corner[0], corner[1]))

    def under(self, y: float, x: float, patch_size: int, out: bool = False) -> int | None:
        """The patch over the pixel whose centre is nearest, of those that are in, or that are out."""

        def distance(number: int) -> float:
            top, left = self.corner(number)
            return max(abs(top + patch_size / 2 - y), abs(left + patch_size / 2 - x))

        nearest = min(self.out if out else self.inside(), key=distance, default=None)
        return nearest if nearest is not None and distance(nearest) <= patch_size / 2 else None
