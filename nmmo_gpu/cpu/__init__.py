PHASES: dict = {}
