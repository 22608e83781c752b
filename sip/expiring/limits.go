package expiring

// Implementation limits.
const (
	// PageSize is the octets of a page: a power of two, large enough that taking one is rare, small enough that the first and the last of a
	// queue, which are not full, do not matter.
	PageSize = 16 << 10
	// MaxClasses is how many lives there are: what a reference has room for beside a place that is a multiple of align.
	MaxClasses = align - 1
	// MaxValue is the largest value in octets: more than the largest SIP message.
	MaxValue = 1 << 17
	// Kinds is the number of kinds.
	Kinds = 16

	headerSize = 28
	align      = 4
	perPage    = PageSize / 4 // references in a page of the index
)
