package tools

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"ledgerd/evidence"
)

// Host is one that an HTTP tool may talk to.
type Host struct {
	// Name is a host name or IP address, with a port unless it is the scheme's
	// own: "tickets.example", "10.0.0.7:8443". An address that is named is
	// allowed, whatever it is.
	Name string
	// Addresses are those that the name may stand for although they are not
	// public: loopback, private, link-local.
	Addresses []netip.Prefix
	// Plain: without TLS is fine. On a loopback address that is named it always is.
	Plain bool
}

// notPublic are addresses that a name from outside must not lead to, besides
// those that netip knows: this network, shared (RFC 6598), protocol assignments,
// benchmarks, reserved; NAT64 and 6to4, which stand for IPv4 addresses of any kind.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("fec0::/10"),
}

// Public reports whether an address is one of the public internet: where a name
// from outside may lead.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	if a.Zone() != "" || !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
		return false
	}
	return !slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(a) })
}

// hosts are the allowed ones, by host:port in lower case.
type hosts map[string]*Host

func newHosts(list []Host) (hosts, error) {
	m := make(hosts, 2*len(list))
	for _, h := range list {
		host, port, err := net.SplitHostPort(h.Name)
		if err != nil {
			host, port = strings.Trim(h.Name, "[]"), ""
		}
		if host == "" || strings.ContainsAny(host, "/@?#*{} ") {
			return nil, fmt.Errorf("want host or host:port, found %q", h.Name)
		}
		ports := []string{port}
		if port == "" {
			ports = []string{"443", "80"}
		}
		for _, p := range ports {
			m[net.JoinHostPort(strings.ToLower(host), p)] = &h
		}
	}
	return m, nil
}

// check returns the allowed host that a URL leads to.
func (m hosts) check(u *url.URL) (*Host, error) {
	if u.Scheme != "https" && u.Scheme != "http" || u.Opaque != "" || u.User != nil {
		return nil, fmt.Errorf("want an http or https URL without a user, found %q", u.Redacted())
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	h := m[net.JoinHostPort(strings.ToLower(u.Hostname()), port)]
	if h == nil {
		return nil, fmt.Errorf("the host %q is not one of those that are allowed", u.Host)
	}
	if u.Scheme == "http" && !h.Plain {
		if a, err := netip.ParseAddr(u.Hostname()); err != nil || !a.IsLoopback() {
			return nil, fmt.Errorf("the host %q is allowed under https only", u.Host)
		}
	}
	return h, nil
}

// Transport returns a transport that connects to these hosts and to nothing else,
// however a name resolves, for a client of one's own. It uses no proxy of the
// environment, which would be the one to resolve, and no connection twice, for
// net/http repeats a request by itself when one that it kept turns out closed. What
// redirects lead to is for the client to decide, and this to dial or not. resolve is
// the system's resolver, and secure the default, if nil.
func Transport(list []Host, resolve func(ctx context.Context, host string) ([]netip.Addr, error), secure *tls.Config) (*http.Transport, error) {
	allowed, err := newHosts(list)
	if err != nil {
		return nil, err
	}
	return allowed.transport(resolve, secure), nil
}

func (m hosts) transport(resolve func(ctx context.Context, host string) ([]netip.Addr, error), secure *tls.Config) *http.Transport {
	if resolve == nil {
		resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return m.dial(ctx, resolve, network, address)
		},
		TLSClientConfig: secure, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
	}
}

// dial resolves an allowed host, looks at the addresses, and connects to one that
// it has looked at: the name is not resolved a second time, so an answer that
// changes (DNS rebinding) changes nothing.
func (m hosts) dial(ctx context.Context, resolve func(context.Context, string) ([]netip.Addr, error), network, address string) (net.Conn, error) {
	h := m[strings.ToLower(address)]
	if h == nil {
		return nil, notRun(evidence.ToolFailed, "the host %q is not one of those that are allowed", address)
	}
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	var list []netip.Addr
	literal, err := netip.ParseAddr(name)
	if err == nil {
		list = []netip.Addr{literal}
	} else if list, err = resolve(ctx, name); err != nil {
		return nil, err
	}
	refused := notRun(evidence.ToolFailed, "the host %q has no address that may be called: a private one has to be allowed by the configuration", address)
	var errs []error
	var d net.Dialer
	for _, a := range list {
		a = a.Unmap()
		named := literal.IsValid() || slices.ContainsFunc(h.Addresses, func(p netip.Prefix) bool { return p.Contains(a) })
		if !named && !Public(a) {
			continue
		}
		c, err := d.DialContext(ctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil, refused
	}
	return nil, errors.Join(errs...)
}
