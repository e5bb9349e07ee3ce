"""The software-defined assets, a module per group: schema, entities, kdata. Called by `definitions`."""
