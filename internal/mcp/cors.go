package mcp

import (
	"net/http"
	"strings"
)

// cors tells the browser of a page that may ask (mayAsk) what it asks of a server elsewhere,
// by the CORS protocol of the Fetch standard: that the page may have the answers, with the
// headers that this protocol has. Cookies are not among what it may send.
func cors(to http.Header, origin string) {
	if origin == "" {
		return
	}
	to.Set("Access-Control-Allow-Origin", origin)
	to.Set("Access-Control-Expose-Headers", sessionHeader+", WWW-Authenticate, Retry-After")
}

// preflight answers what a browser asks before a request of a page's.
func preflight(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		w.Header().Set("Access-Control-Allow-Headers", asked)
	}
	w.Header().Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}

// withoutPage takes out of headers what is between a browser and this gateway, about the page
// that asks. The server behind is asked by the gateway, and by no page.
func withoutPage(h http.Header) {
	for name := range h {
		if name == "Origin" || strings.HasPrefix(name, "Sec-Fetch-") || strings.HasPrefix(name, "Access-Control-") {
			h.Del(name)
		}
	}
}
