package redirect

import "time"

// Implementation limits.
const (
	// maxLookups is how many lookups may run at once; one more request is answered 503.
	maxLookups = 4096
	// lookupWait is how long a caller waits for the overlay before it gets 504; below Timer F of the phone (32 s) and what people bear.
	lookupWait = 8 * time.Second
)
