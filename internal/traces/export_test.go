package traces

// WithFault has f asked before and after each change of the spool.
func WithFault(cfg Config, f func(op, name string, did bool) error) Config {
	cfg.fault = f
	return cfg
}
