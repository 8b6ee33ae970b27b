"""Affine maps of populations: what linear layers, sums, differences, slices and concatenations come to."""

from dataclasses import dataclass

import numpy as np

Matrix = np.ndarray


@dataclass(frozen=True, eq=False)
class Affine:
    """``sum over sources of matrix @ source + bias``, float64.

    Attributes:
        terms: matrix (size, source size) by name of the source.
        bias: (size,).
    """

    terms: dict[str, Matrix]
    bias: Matrix

    @classmethod
    def of(cls, source: str, size: int) -> "Affine":
        """The source itself."""
        return cls({source: np.eye(size)}, np.zeros(size))

    @property
    def size(self) -> int:
        """Length of the vector."""
        return len(self.bias)

    @property
    def connections(self) -> int:
        """Number of matrix elements that are not 0."""
        return sum(int(np.count_nonzero(matrix)) for matrix in self.terms.values())

    def __add__(self, other: "Affine") -> "Affine":
        terms = dict(self.terms)
        for name, matrix in other.terms.items():
            terms[name] = terms[name] + matrix if name in terms else matrix
        return Affine(terms, self.bias + other.bias)

    def scaled(self, factor: Matrix | float) -> "Affine":
        """Multiply elementwise by constants (size,) or one constant."""
        factors = np.broadcast_to(np.asarray(factor, np.float64), self.bias.shape)
        return Affine({name: factors[:, None] * matrix for name, matrix in self.terms.items()}, factors * self.bias)

    def shifted(self, constant: Matrix | float) -> "Affine":
        """Add constants (size,) or one constant."""
        return Affine(self.terms, self.bias + np.asarray(constant, np.float64))

    def mapped(self, matrix: Matrix) -> "Affine":
        """Apply a matrix (new size, size)."""
        return Affine({name: matrix @ term for name, term in self.terms.items()}, matrix @ self.bias)

    def rows(self, index: slice | np.ndarray) -> "Affine":
        """Take some of the elements; sources that none of them needs are left out."""
        terms = {name: matrix[index] for name, matrix in self.terms.items()}
        return Affine({name: matrix for name, matrix in terms.items() if matrix.any()}, self.bias[index])

    def is_source(self) -> str | None:
        """Return the name of the source that this is exactly, if it is one."""
        if len(self.terms) == 1 and not self.bias.any():
            ((name, matrix),) = self.terms.items()
            if matrix.shape[0] == matrix.shape[1] and np.array_equal(matrix, np.eye(len(matrix))):
                return name
        return None

    def key(self) -> tuple:
        """Return something hashable that equal maps share."""
        return (self.bias.tobytes(), *((name, self.terms[name].tobytes()) for name in sorted(self.terms)))

    def evaluate(self, values: dict[str, np.ndarray]) -> np.ndarray:
        """Return the map's values (samples, size) for values (samples, source size) of its sources."""
        total = sum((values[name] @ matrix.T for name, matrix in self.terms.items()), start=np.zeros(self.size))
        return total + self.bias


def concatenate(parts: list[Affine]) -> Affine:
    """Put maps one after the other."""
    names = {name: matrix.shape[1] for part in parts for name, matrix in part.terms.items()}
    terms = {
        name: np.concatenate([part.terms.get(name, np.zeros((part.size, width))) for part in parts])
        for name, width in names.items()
    }
    return Affine(terms, np.concatenate([part.bias for part in parts]))
