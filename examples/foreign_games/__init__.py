"""Games of TextArena and GEM as Gymnasium games of text: importing this registers them, and imports neither package."""

import gymnasium

gymnasium.register("foreign/TextArena-v0", entry_point="examples.foreign_games.textarena_game:TextArenaGame")
gymnasium.register("foreign/Gem-v0", entry_point="examples.foreign_games.gem_game:GemGame")
