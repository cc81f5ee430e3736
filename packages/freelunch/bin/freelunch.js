#!/usr/bin/env node
// The command itself is part of @freelunch/lab, which in a clone builds first what is not built yet.
await import('@freelunch/lab/cli');
