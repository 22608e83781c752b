package journal

import "time"

// Implementation limits. What a journal holds is bounded by what a peer holds.
const (
	touchEvery = 512             // octets: less than a page of any machine
	openWait   = 2 * time.Second // for a process that is on its way out to let go of the file
)
