package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/clock"

	"github.com/cert-manager/cert-manager/pkg/controller"
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	requestca "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	requestselfsigned "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	"github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	"github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
	logf "github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/cert-manager/cert-manager/pkg/metrics"
)

// enabledControllers are those that CA and self-signed issuers need. The imports above
// register them; the names are checked at start.
var enabledControllers = []string{
	issuers.ControllerName,
	clusterissuers.ControllerName,
	approver.ControllerName,
	requestca.CRControllerName,
	requestselfsigned.CRControllerName,
	trigger.ControllerName,
	keymanager.ControllerName,
	requestmanager.ControllerName,
	issuing.ControllerName,
	readiness.ControllerName,
	revisionmanager.ControllerName,
}

type controllerFlags struct {
	commonFlags
	clusterResourceNamespace string
	healthzListenAddress     string
	acmeSolverImage          string
	maxConcurrentChallenges  int
	featureGates             string
}

func controllerCommand() *cobra.Command {
	var flags controllerFlags
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "issuers, certificates and certificate requests",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return flags.run(cmd.Context()) },
	}
	flags.register(cmd)
	set := cmd.Flags()
	set.StringVar(&flags.clusterResourceNamespace, "cluster-resource-namespace", "kube-system", "namespace of the Secrets of ClusterIssuers")
	set.StringVar(&flags.healthzListenAddress, "healthz-listen-address", "127.0.0.1:9403", "address of the health endpoint")
	set.StringVar(&flags.acmeSolverImage, "acme-http01-solver-image", "", "accepted as in the product; no ACME issuer runs here")
	set.IntVar(&flags.maxConcurrentChallenges, "max-concurrent-challenges", 60, "accepted as in the product; no ACME issuer runs here")
	set.StringVar(&flags.featureGates, "feature-gates", "", "accepted as in the product")
	return cmd
}

func (f *controllerFlags) run(ctx context.Context) error {
	log := logf.FromContext(ctx, "controller")
	factory, err := controller.NewContextFactory(ctx, controller.ContextOptions{
		Kubeconfig:         f.kubeconfig,
		KubernetesAPIQPS:   50,
		KubernetesAPIBurst: 100,
		Clock:              clock.RealClock{},
		Metrics:            metrics.New(log, clock.RealClock{}),
		IssuerOptions:      controller.IssuerOptions{ClusterResourceNamespace: f.clusterResourceNamespace},
		SchedulerOptions:   controller.SchedulerOptions{MaxConcurrentChallenges: f.maxConcurrentChallenges},
	})
	if err != nil {
		return err
	}

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serveHealth(ctx, f.healthzListenAddress) })
	group.Go(func() error {
		return f.lead(ctx, func(ctx context.Context) error { return runControllers(ctx, factory) })
	})
	return group.Wait()
}

// lead runs work while this process holds the leader election Lease.
func (f *controllerFlags) lead(ctx context.Context, work func(context.Context) error) error {
	config, err := f.restConfig("leader-election")
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	hostname, err := os.Hostname()
	if err != nil {
		return err
	}
	identity := fmt.Sprintf("%s-%d", hostname, os.Getpid())
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, f.leaderElectionNamespace, "cert-manager-controller",
		client.CoreV1(), client.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: identity})
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
		Lock:            lock,
		LeaseDuration:   60 * time.Second,
		RenewDeadline:   40 * time.Second,
		RetryPeriod:     2 * time.Second,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { failed <- work(ctx) },
			OnStoppedLeading: func() {},
		},
	})
	select {
	case err := <-failed:
		return err
	default:
		return ctx.Err()
	}
}

func runControllers(ctx context.Context, factory *controller.ContextFactory) error {
	base, err := factory.Build()
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	known := controller.Known()
	for _, name := range enabledControllers {
		constructor, ok := known[name]
		if !ok {
			return fmt.Errorf("controller %s is not registered", name)
		}
		instance, err := constructor(factory)
		if err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
		group.Go(func() error { return instance.Run(5, ctx) })
	}
	base.SharedInformerFactory.Start(ctx.Done())
	base.KubeSharedInformerFactory.Start(ctx.Done())
	return group.Wait()
}

// serveHealth answers /livez as the product's liveness probe expects.
func serveHealth(ctx context.Context, address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(listener); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}
