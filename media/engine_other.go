//go:build !linux

package media

// newEngine returns the engine for this host.
func newEngine(s *shard) (engine, error) { return newPortable(s) }
