package lan

import (
	"context"
	"fmt"
	"net"
)

// Resolver finds the configuration server of an overlay on the local network: it does for a client of package enroll what DNS does.
type Resolver struct {
	Interfaces []string // as in Config
}

// LookupSRV looks for instances of _service._proto of the overlay name. Their addresses stand in the place of targets. It takes until
// the first one is found, two seconds at most; without one the error is a *net.DNSError.
func (r *Resolver) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	overlay := name
	for len(overlay) > 0 && overlay[len(overlay)-1] == '.' {
		overlay = overlay[:len(overlay)-1]
	}
	got := make(chan Found, maxFound)
	ctx, cancel := context.WithTimeout(ctx, resolveWait)
	defer cancel()
	a, err := Open(Config{Overlay: overlay, Browse: []string{"_" + service + "._" + proto}, Interfaces: r.Interfaces, Found: func(f Found) {
		select {
		case got <- f:
		default:
		}
		cancel()
	}})
	if err != nil {
		return "", nil, err
	}
	a.Run(ctx)
	close(got)
	var list []*net.SRV
	for f := range got {
		for _, at := range f.Addresses {
			list = append(list, &net.SRV{Target: at.Addr().String(), Port: at.Port()})
		}
	}
	if len(list) == 0 {
		return "", nil, &net.DNSError{Err: fmt.Sprintf("no _%s._%s of %s on the local network", service, proto, overlay), Name: overlay}
	}
	return overlay, list, nil
}
