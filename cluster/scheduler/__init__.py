"""The scheduler: `scheduler.Scheduler(world)` is the actor to spawn; `placement` is its pure heart."""
