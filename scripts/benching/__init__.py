"""The parts of scripts/bench. Knows pipechat only from outside: as a command and as files."""
