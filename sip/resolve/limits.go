package resolve

import "time"

// Specification constants: default ports (RFC 3261 §19.1.2).
const (
	portSIP  = 5060
	portSIPS = 5061
)

// Implementation limits.
const (
	// Deadline is how long a resolution may take, all queries together: a caller hears nothing meanwhile.
	Deadline = 3 * time.Second
	// MaxHops is the number of candidates for one URI: each may take 32 s to fail.
	MaxHops = 16
	// MaxCached is the number of answers kept.
	MaxCached = 4096
	// MaxRunning is the number of resolutions that run at once; more fail with ErrBusy.
	MaxRunning = 256

	maxPerHost  = 64                     // of MaxRunning, for one name: the others shall not wait for one that is black-holed
	maxServices = 4                      // NAPTR records followed for one target
	maxTargets  = 8                      // SRV records followed for one service
	maxTTL      = time.Hour              // an operator who moved a server is not to wait longer
	failedTTL   = 5 * time.Second        // a server that fails is not asked again for each request
	absentTTL   = 60 * time.Second       // at most, for a name that does not exist (RFC 2308 §5)
	staleFor    = 60 * time.Second       // for which an answer that is over stands in for one that does not come
	staleWait   = 300 * time.Millisecond // how long a caller waits for the new answer when there is an old one
	queryTime   = time.Second            // one query to one server
	rounds      = 2                      // times each server is asked
	ednsSize    = 1232                   // octets of an answer over UDP: no fragments
)
