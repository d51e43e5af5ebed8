"""Several processes that compute a network together, each its share of the batch."""

from tinydiff.team.helper import name_of
from tinydiff.team.team import Team, team_of

__all__ = ["Team", "name_of", "team_of"]
