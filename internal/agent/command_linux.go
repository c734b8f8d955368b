package agent

import (
	"slices"

	"ledgerd/runtime"
	"ledgerd/runtime/tools"
)

func (e *commandEntry) tool(spec runtime.Spec) (runtime.Tool, error) {
	cfg := tools.CommandConfig{Spec: spec, Path: e.Path, Args: e.Args, Dir: e.Dir, Stdin: e.Stdin, MaxOutput: e.MaxOutput}
	hidden, err := secrets(e.Secrets)
	if err != nil {
		return nil, err
	}
	for _, env := range []map[string]string{e.Env, hidden} {
		for name, v := range env {
			cfg.Env = append(cfg.Env, name+"="+v)
		}
	}
	// One order, since the description of the tool has the names.
	slices.Sort(cfg.Env)
	return tools.NewCommand(cfg)
}
